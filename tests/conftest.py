"""No deadlines: a machine may have other things to do."""

from hypothesis import HealthCheck, settings

settings.register_profile("tensors", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tensors")
