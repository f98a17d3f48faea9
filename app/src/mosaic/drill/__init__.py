"""Load for drills, and its ledger; `mosaic drill ...` runs them on a gateway."""
