"""Random scenarios, played on two sides, held against each other, grouped and made small.

One side is a modelled kernel.  The other is whatever answers with recordings (`asking.Asked`): a
real kernel by the rig, another modelled kernel, or the same one with independent actions in
another order.
"""
