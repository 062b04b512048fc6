"""Events: messages that say where something has changed. They are read, checked and held here; jobs act on them."""
