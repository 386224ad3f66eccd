"""The world that policies learn in: groups of hosts, drawn by seeds, that grow by actions and pay rewards."""
