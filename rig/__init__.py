"""The rig: real arm64 kernels under an emulator, asked what they do to a scenario.

It boots unchanged Debian kernels (or a person's own) in QEMU without hardware help, plays the
actions of a scenario with real processes, and records the state after each action, every store in
its order, or what two CPUs do in a chosen interleaving.  The guest's side (`guest/`) and the
plugins of the emulator (`plugins/`) are C, built from the sources here; what was set up lies in
the work directory (`work.work_directory`).
"""
