//! The chart and what is generated from it: rendered with Helm, put before a real API server, and compared with the
//! program's own flags, definitions and metrics.

mod access;
mod argocd;
mod aws;
mod deploy;
mod deprived;
mod docs;
mod flags;
mod flux;
mod health;
mod monitoring;
mod rendered;
mod rights;
mod states;
mod support;
mod values;
