//! Whether objects arrive: what the status says of it, and what the operator does to find out.

mod canary;
