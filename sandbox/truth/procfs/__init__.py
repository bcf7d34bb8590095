"""/proc as a state says it: maps, smaps, pagemap, kpageflags, kpagecount and the counters."""
