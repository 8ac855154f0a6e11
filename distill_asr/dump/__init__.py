"""The engine behind the verb ``dump``.

``plan`` says what there is to do, ``shard`` does one piece of it, ``workers`` and ``cluster`` give
the pieces out to processes here or elsewhere, ``progress`` tells how far it is.
"""
