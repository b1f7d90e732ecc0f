"""The seam to models, and what stands behind it: HTTP, replicas, launched servers, the ledger."""
