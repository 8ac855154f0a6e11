"""The engine behind the verb ``dump``.

``plan`` divides the work into shards, and ``shard`` computes one of them. ``workers`` and
``cluster`` hand them to processes here or elsewhere, and ``progress`` shows how far they are.
"""
