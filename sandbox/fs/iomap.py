"""State of a folio's blocks that XFS attaches to large folios (fs/iomap/buffered-io.c, 6.12)."""

from __future__ import annotations

from sandbox.machine.part import KernelPart
from sandbox.memory import Folio, Gen, Mapping, add, bits, load
from sandbox.mm.flags import HOST_XFS, PG_anon, PG_dirty, PG_private


class IomapMixin(KernelPart):
    """`struct iomap_folio_state`: a reference on the folio, and PG_private."""

    def ifs_alloc(self, folio: Folio) -> Gen[None]:
        """Attach the state to a folio of several blocks that has none (`folio_attach_private`)."""
        if not folio.large or (yield load(folio.flags)) & (PG_anon | PG_private):
            return
        mapping = Mapping((yield load(folio.mapping)))
        if not mapping or (yield load(mapping.host)) != HOST_XFS:
            return
        yield add(folio._refcount, 1)
        yield bits(folio.flags, PG_private)

    def filemap_release_folio(self, folio: Folio) -> Gen[bool]:
        """Ask the filesystem to give a locked folio's state up; not while it is dirty."""
        if not (yield load(folio.flags)) & PG_private:
            return True
        if (yield load(folio.flags)) & PG_dirty:
            return False
        yield from self.ifs_free(folio)
        return True

    def ifs_free(self, folio: Folio) -> Gen[None]:
        """Detach the state, if there is any (`folio_detach_private`)."""
        if (yield load(folio.flags)) & PG_private:
            yield bits(folio.flags, 0, PG_private)
            yield from self.folio_put(folio)
