//! The acts of administrators on accounts and namespaces.
//!
//! In: the API server. Out: a constant for each act, which `scene.rs` lists for scenes.

use serde_json::json;

use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::explore::act::{Act, HERE};
use crate::simulation::explore::budget::Budget;
use crate::simulation::explore::scene_beginnings::default_account;

pub const FORBID_CANARIES: Act = Act {
    name: "forbids-canaries",
    sentence: "The administrator allows no canaries under AwsAccount default any more",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let allowed =
            server.objects.get(&name).is_some_and(|object| object["spec"]["allow"] == json!(["Canary"]));
        server.edit(&name, |object| object["spec"]["allow"] = json!([]));
        allowed
    },
};

pub const TIGHTEN_ACCOUNT: Act = Act {
    name: "tightens-account",
    sentence: "The administrator takes the source orders out of AwsAccount default",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let allowed = |server: &ApiServer| {
            server.objects.get(&name).is_some_and(|object| object["spec"]["sources"] != json!(["invoices"]))
        };
        allowed(server) && {
            server.edit(&name, |object| object["spec"]["sources"] = json!(["invoices"]));
            true
        }
    },
};

pub const ALLOW_AGAIN: Act = Act {
    name: "allows-again",
    sentence: "The administrator lets AwsAccount default take the source orders again",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let tightened =
            server.objects.get(&name).is_some_and(|object| object["spec"]["sources"] == json!(["invoices"]));
        server.edit(&name, |object| object["spec"]["sources"] = json!(["orders"]));
        tightened
    },
};

pub const TIGHTEN_DESTINATION: Act = Act {
    name: "tightens-destination",
    sentence: "The administrator takes the destination replicas out of AwsAccount dr",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("dr");
        let allowed =
            server.objects.get(&name).is_some_and(|object| object["spec"]["destinations"] != json!([]));
        server.edit(&name, |object| object["spec"]["destinations"] = json!([]));
        allowed
    },
};

pub const DELETE_DESTINATION_ACCOUNT: Act = Act {
    name: "deletes-destination-account",
    sentence: "The administrator deletes AwsAccount dr",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("dr");
        let there = server.objects.contains_key(&name);
        server.delete(&name);
        there
    },
};

pub const ALLOW_ELDER: Act = Act {
    name: "allows-elder",
    sentence: "The administrator lets AwsAccount other take the source orders, for which data/elder asks",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("other");
        let forbidden =
            server.objects.get(&name).is_some_and(|object| object["spec"]["sources"] != json!(["orders"]));
        server.edit(&name, |object| object["spec"]["sources"] = json!(["orders"]));
        forbidden
    },
};

pub const DELETE_ACCOUNT: Act = Act {
    name: "deletes-account",
    sentence: "The administrator deletes AwsAccount default",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let there = server.objects.contains_key(&name);
        server.delete(&name);
        there
    },
};

pub const RECREATE_ACCOUNT: Act = Act {
    name: "recreates-account",
    sentence: "The administrator creates AwsAccount default again, as it was",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let gone = !server.objects.contains_key(&name);
        if gone {
            server.create(&name, default_account(), 0);
        }
        gone
    },
};

pub const RELABEL_NAMESPACE: Act = Act {
    name: "relabels-namespace",
    sentence: "The administrator takes the label team=a from namespace data",
    budget: Budget::Administrators,
    effect: |_, server| {
        server.namespaces.insert("data".to_owned(), Default::default()) != Some(Default::default())
    },
};

pub const FORBID_CANARIES_ABROAD: Act = Act {
    name: "forbids-canaries-abroad",
    sentence: "The administrator allows no canaries under AwsAccount dr any more",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("dr");
        let allowed =
            server.objects.get(&name).is_some_and(|object| object["spec"]["allow"] == json!(["Canary"]));
        server.edit(&name, |object| object["spec"]["allow"] = json!([]));
        allowed
    },
};

pub const FORBID_ELDER: Act = Act {
    name: "forbids-elder",
    sentence: "The administrator takes the source orders out of AwsAccount other",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("other");
        let allowed =
            server.objects.get(&name).is_some_and(|object| object["spec"]["sources"] == json!(["orders"]));
        server.edit(&name, |object| object["spec"]["sources"] = json!(["invoices"]));
        allowed
    },
};

pub const IMPOSE_BOUNDARY: Act = Act {
    name: "imposes-boundary",
    sentence: "The administrator imposes a permissions boundary on roles under AwsAccount default",
    budget: Budget::Administrators,
    effect: |_, server| {
        let name = ObjectName::account("default");
        let boundary = json!(format!("arn:aws:iam::{HERE}:policy/imposed"));
        let is_free = server
            .objects
            .get(&name)
            .is_some_and(|object| object["spec"]["roles"]["permissionsBoundary"] != boundary);
        server.edit(&name, |object| object["spec"]["roles"] = json!({"permissionsBoundary": boundary}));
        is_free
    },
};
