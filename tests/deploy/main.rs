//! The files in `charts/` and `deploy/`. The tests render them with Helm and Kustomize, apply them to a real API
//! server, and compare them with the program's own flags, definitions and metrics.

mod access;
mod accounts;
mod all_statuses;
mod argocd;
mod aws;
mod deploy;
mod docs;
mod events;
mod flags;
mod flux;
mod health;
mod helm_test;
mod image;
mod krew;
mod metadata;
mod missing_rbac;
mod monitoring;
mod notes;
mod rbac;
mod rendered;
mod schema;
mod support;
mod values;
