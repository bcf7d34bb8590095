"""arm64: page-table entries and the contiguous-PTE layer."""
