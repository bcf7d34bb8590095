"""What the kernel's file systems would show of a machine's state: /proc."""
