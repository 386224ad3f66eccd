"""The `tamiyo` command: words in, text and exit codes out. All that it does can be had from Python without it."""
