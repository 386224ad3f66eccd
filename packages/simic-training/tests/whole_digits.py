"""The one member that benchmarks play: all ten digits as they are, and hosts that lack nothing."""

from kasmina_hosts import HostFamily, Lack

WHOLE_DIGITS = HostFamily(
    lacks=(Lack.NOTHING,),
    class_counts=(10, 10),
    widths=(4, 4),
    train_samples=(1152, 1152),
    max_label_noise=0.0,
    max_shift=0,
    max_occlusion=0,
    max_epochs=(25, 25),
)
