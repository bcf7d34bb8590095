"""`python -m tests.pairs`: every pair on every release, as long as it takes."""

from __future__ import annotations

import argparse
import sys

from tests.pairs.campaign import UPSTREAM, Campaign
from tests.pairs.cases import SETUPS, all_pairs


def main() -> int:
    """Play; the status says whether anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.pairs", description=__doc__)
    parser.add_argument("--kernels", nargs="+", default=UPSTREAM)
    parser.add_argument("--schedules", type=int, default=10, help="for each pair (10)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--setups", nargs="+", choices=[s.name for s in SETUPS], default=[])
    parser.add_argument("--step", type=int, default=1, help="play every so many pairs (1)")
    args = parser.parse_args()
    pairs = [p for p in all_pairs() if not args.setups or p.setup.name in args.setups]
    found = 0
    for kernel in args.kernels:
        campaign = Campaign(kernel)
        campaign.play(pairs[:: args.step], args.schedules, args.seed)
        for finding in campaign.findings:
            sys.stdout.write(f"{finding}\n\n")
        sys.stdout.write(f"{campaign.text}\n")
        sys.stdout.flush()
        found += len(campaign.findings)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
