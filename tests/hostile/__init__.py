"""Input that means harm: Hypothesis draws it, seeded; `make test` takes a few examples of each kind, others the rest.

What is promised is docs/security.md; each file of this folder holds one of its sections.
"""
