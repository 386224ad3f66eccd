"""Importing this module registers the environments, for names in Gymnasium's form `module:id`.

    gymnasium.make("simic_training.envs.registered:tamiyo/Growth-v0")

It is the one module here whose import changes something elsewhere, because that form leaves no other place for it. In
code, call `simic_training.envs.registration.register_envs`.
"""

from simic_training.envs.registration import register_envs

register_envs()
