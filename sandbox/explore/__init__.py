"""Every interleaving of a block of CPUs: the engine learned event by event, and searched."""
