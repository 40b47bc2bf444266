"""A finished run in the formats that trainers read: one small file for each format, and for what each pipeline has to give."""
