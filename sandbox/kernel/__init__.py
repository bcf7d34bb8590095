"""What lives under kernel/ in the tree: fork and exit of processes."""
