"""The commands, by what they are for. They are thin: what they do are functions elsewhere, imported when they are called."""
