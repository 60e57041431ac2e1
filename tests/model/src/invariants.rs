//! The invariants: the promises of docs/guarantees.md, as conditions on every state.

use stateright::Property;

use crate::{
    event_invariants, goals,
    names::{ReplicaNumber, RequestNumber},
    protocol::Protocol,
    state::{REPLICAS, RequestStatus, State},
    store::{Bundle, Key, Objects, Value},
};

/// A condition that every state must satisfy.
pub struct Invariant {
    /// The condition as a sentence.
    pub name: &'static str,
    /// Whether a state satisfies the condition.
    pub is_satisfied: fn(&Protocol, &State) -> bool,
}

/// An accepted export is complete in S3, has a journal entry, or has a durable failure record.
pub const NO_ACCEPTED_EXPORT_IS_LOST: &str = "no accepted export is lost";
/// One id and content have at most one bundle in each store of S3 and in each local store, and one
/// replica puts it in at most one store of S3.
pub const ONE_BUNDLE: &str = "one export has one bundle";
/// The bytes of an object are never replaced.
pub const NO_OBJECT_IS_OVERWRITTEN: &str = "no object is overwritten";
/// If a manifest exists, so do the artifacts that it lists and the index entry.
pub const MANIFEST_WRITTEN_LAST: &str = "a manifest is written last";
/// A folder with a manifest has only files of that bundle, all with the record's time and version.
pub const CONSISTENT_BUNDLE: &str = "a bundle is consistent";
/// Reading an export by its id finds every bundle.
pub const READERS_FIND_BUNDLES: &str = "readers find every bundle";
/// A bundle that was reported as stored locally stays there until S3 has the complete bundle.
pub const LOCAL_COPY_STAYS: &str = "a local copy stays until S3 has the bundle";
/// A bundle that was reported as stored in S3 is complete in the reported folder.
pub const REPORTED_IN_S3_IS_IN_S3: &str = "a bundle reported as in S3 is in S3";
/// A replica that reported `failed` never commits the export, and neither does a replica that did
/// not receive the request.
pub const FAILURE_IS_FINAL: &str = "a failure is final";
/// A request that every contacted replica refused has no bundle.
pub const REFUSED_HAS_NO_BUNDLE: &str = "a refused request has no bundle";
/// Only an entry's own store decides about it.
pub const OWN_STORE_DECIDES: &str = "only an entry's own store decides about it";
/// If an export fails because of a lost document, its store no longer has the document.
pub const LOST_DOCUMENT_IS_LOST: &str = "a document reported as lost is lost";
/// While S3 responds, every run has a next operation. An entry may wait for its store while another
/// one responds.
pub const NO_EXPORT_IS_STUCK: &str = "no export is stuck";
/// If S3 responds and no work is in progress, every accepted export is in S3 and the local stores
/// are empty.
pub const ALL_IS_SETTLED: &str = "every accepted export is settled";

/// All invariants.
pub fn all() -> Vec<Invariant> {
    let invariant = |name, is_satisfied| Invariant { name, is_satisfied };
    vec![
        invariant(NO_ACCEPTED_EXPORT_IS_LOST, no_accepted_export_is_lost),
        invariant(ONE_BUNDLE, one_bundle),
        invariant(NO_OBJECT_IS_OVERWRITTEN, |_, state| !state.overwritten),
        invariant(MANIFEST_WRITTEN_LAST, |_, state| {
            stores(state).all(|store| store.bundles().all(|bundle| store.is_complete(&bundle)))
        }),
        invariant(CONSISTENT_BUNDLE, |_, state| stores(state).all(is_consistent)),
        invariant(READERS_FIND_BUNDLES, readers_find_bundles),
        invariant(LOCAL_COPY_STAYS, local_copy_stays),
        invariant(REPORTED_IN_S3_IS_IN_S3, reported_in_s3_is_in_s3),
        invariant(FAILURE_IS_FINAL, failure_is_final),
        invariant(REFUSED_HAS_NO_BUNDLE, refused_has_no_bundle),
        invariant(OWN_STORE_DECIDES, |_, state| !state.decided_by_other_store),
        invariant(LOST_DOCUMENT_IS_LOST, |_, state| {
            let is_there = state.s3[0].get(Key::Document).is_some();
            !is_there || !state.replicas.iter().any(|host| host.disk.lost.contains(&true))
        }),
        invariant(NO_EXPORT_IS_STUCK, no_export_is_stuck),
        invariant(ALL_IS_SETTLED, all_is_settled),
    ]
    .into_iter()
    .chain(event_invariants::all())
    .collect()
}

/// All invariants and [`crate::goals`] for the checker.
pub(crate) fn properties() -> Vec<Property<Protocol>> {
    let always = all()
        .into_iter()
        .map(|Invariant { name, is_satisfied }| Property::always(name, is_satisfied));
    let sometimes =
        goals::all().into_iter().map(|goal| Property::sometimes(goal.name, goal.is_met));
    always.chain(sometimes).collect()
}

fn stores(state: &State) -> impl Iterator<Item = &Objects> {
    state.s3.iter().chain(state.replicas.iter().map(|replica| &replica.disk.local))
}

pub(crate) fn requests(protocol: &Protocol) -> impl Iterator<Item = RequestNumber> {
    0..protocol.scenario.requests.len()
}

pub(crate) fn pairs(protocol: &Protocol) -> impl Iterator<Item = (RequestNumber, ReplicaNumber)> {
    requests(protocol).flat_map(|request| (0..REPLICAS).map(move |replica| (request, replica)))
}

pub(crate) fn bundles_of<'a>(
    protocol: &Protocol,
    store: &'a Objects,
    request: RequestNumber,
) -> impl Iterator<Item = Bundle> + 'a {
    let (id, content) = (protocol.request(request).id, protocol.request(request).content);
    store.bundles().filter(move |bundle| {
        bundle.source.id.request_id == id && bundle.source.digest.content == content
    })
}

fn is_in(protocol: &Protocol, store: &Objects, request: RequestNumber) -> bool {
    bundles_of(protocol, store, request).any(|bundle| store.is_complete(&bundle))
}

/// Whether the request's complete bundle is in a store of S3.
pub(crate) fn is_in_s3(protocol: &Protocol, state: &State, request: RequestNumber) -> bool {
    state.s3.iter().any(|s3| is_in(protocol, s3, request))
}

fn no_accepted_export_is_lost(protocol: &Protocol, state: &State) -> bool {
    let is_safe_at = |request: RequestNumber, replica: ReplicaNumber| {
        let disk = &state.replicas[replica].disk;
        disk.journal[request].is_some() || disk.failed[request]
    };
    pairs(protocol).all(|(request, replica)| {
        let reported = &state.reported[request];
        let by_replica = !reported.accepted[replica] || is_safe_at(request, replica);
        let in_store = !reported.accepted_in_store
            || (0..REPLICAS).any(|replica| is_safe_at(request, replica))
            || has_entry(protocol, state, request)
            || is_marked_failed(protocol, state, request);
        (by_replica && in_store) || is_in_s3(protocol, state, request)
    })
}

/// Whether an entry in S3 allows a replica to finish the request.
pub(crate) fn has_entry(protocol: &Protocol, state: &State, request: RequestNumber) -> bool {
    let lets_finish = |s3: &Objects, key, value| {
        let (Key::Entry(id, entry), Value::Entry { request: theirs, .. }) = (key, value) else {
            return false;
        };
        if s3.get(Key::EndMarker(id, entry)).is_some() {
            return false;
        }
        let Some(Value::Record { digest, .. }) = s3.get(Key::Record(id)) else {
            return false;
        };
        theirs == request && digest.content == protocol.request(request).content
    };
    state.s3.iter().any(|s3| s3.iter().any(|(key, value)| lets_finish(s3, key, value)))
}

/// Whether an end marker in S3 records the failure of a request.
pub(crate) fn is_marked_failed(protocol: &Protocol, state: &State, request: RequestNumber) -> bool {
    let content = protocol.request(request).content;
    state.s3.iter().flat_map(|s3| s3.iter()).any(|(key, value)| {
        matches!(key, Key::EndMarker(id, Some(digest))
            if id == protocol.plain_id(request) && digest.content == content)
            && value == Value::Ended { has_failed: true }
    })
}

fn one_bundle(protocol: &Protocol, state: &State) -> bool {
    let in_one_store = |request: RequestNumber, replica: ReplicaNumber| {
        let is_there = |s3: &&Objects| {
            bundles_of(protocol, s3, request).any(|bundle| bundle.put_by == replica)
        };
        state.s3.iter().filter(is_there).count() <= 1
    };
    requests(protocol)
        .all(|request| stores(state).all(|store| bundles_of(protocol, store, request).count() <= 1))
        && pairs(protocol).all(|(request, replica)| in_one_store(request, replica))
}

fn is_consistent(store: &Objects) -> bool {
    store.iter().all(|(key, value)| match (key, value) {
        (Key::Manifest(folder), Value::Manifest { source, .. }) => {
            let record = store.get(Key::Record(source.id));
            let is_as_recorded = matches!(record, Some(Value::Record { digest, pin })
                if digest.content == source.digest.content
                    && (pin.time, pin.version) == (source.time, source.version));
            is_as_recorded && store.get(Key::Claim(folder)) == Some(Value::Owner(source.id))
        }
        (Key::Artifact(folder, artifact), value) => match store.get(Key::Manifest(folder)) {
            Some(Value::Manifest { source, artifacts, .. }) => {
                value == Value::Artifact(source) && artifacts & (1 << artifact) != 0
            }
            Some(_) => value == Value::ForeignFolder,
            None => true,
        },
        _ => true,
    })
}

fn readers_find_bundles(protocol: &Protocol, state: &State) -> bool {
    let in_s3 =
        |s3: &Objects| s3.bundles().all(|bundle| s3.bundle_of(bundle.source.id) == Some(bundle));
    let in_local = |store: &Objects, bundle: Bundle| {
        let id = bundle.source.id;
        let found = if protocol.mechanisms.local_folders_by_scan {
            store.committed_in(store.folders_by_scan(id), id)
        } else {
            store.bundle_of(id)
        };
        found == Some(bundle)
    };
    state.s3.iter().all(in_s3)
        && state.replicas.iter().all(|replica| {
            let store = &replica.disk.local;
            store.bundles().all(|bundle| in_local(store, bundle))
        })
}

fn local_copy_stays(protocol: &Protocol, state: &State) -> bool {
    pairs(protocol).all(|(request, replica)| {
        !state.reported[request].stored_locally[replica]
            || is_in(protocol, &state.replicas[replica].disk.local, request)
            || is_in_s3(protocol, state, request)
    })
}

fn reported_in_s3_is_in_s3(protocol: &Protocol, state: &State) -> bool {
    pairs(protocol).all(|(request, replica)| {
        state.reported[request].stored_in_s3[replica].is_none_or(|folder| {
            state.s3.iter().any(|s3| {
                bundles_of(protocol, s3, request)
                    .any(|bundle| bundle.folder == folder && s3.is_complete(&bundle))
            })
        })
    })
}

fn failure_is_final(protocol: &Protocol, state: &State) -> bool {
    pairs(protocol).all(|(request, replica)| {
        !state.replicas[replica].disk.failed[request]
            || state.s3.iter().flat_map(|s3| bundles_of(protocol, s3, request)).all(|bundle| {
                bundle.put_by != replica
                    && state.reported[request].status[bundle.put_by] != RequestStatus::NotSent
            })
    })
}

fn refused_has_no_bundle(protocol: &Protocol, state: &State) -> bool {
    requests(protocol).all(|request| {
        let status = &state.reported[request].status;
        let is_refused =
            status.contains(&RequestStatus::Refused) && !status.contains(&RequestStatus::Open);
        !is_refused || stores(state).all(|store| bundles_of(protocol, store, request).count() == 0)
    })
}

fn no_export_is_stuck(protocol: &Protocol, state: &State) -> bool {
    !state.s3_is_up
        || state.replicas.iter().enumerate().all(|(replica, host)| {
            host.runs.iter().enumerate().all(|(request, run)| {
                let context = protocol.context(replica, request);
                run.as_ref().is_none_or(|run| {
                    !context.operations(state, run).is_empty() || context.may_wait(state, run)
                })
            }) && host
                .disk
                .journal
                .iter()
                .zip(&host.runs)
                .all(|(entry, run)| entry.is_none() || run.is_some())
        })
}

fn all_is_settled(protocol: &Protocol, state: &State) -> bool {
    let is_taken_over = || {
        (0..REPLICAS).any(|replica| {
            state.s3_of(replica).iter().any(|(key, _)| protocol.may_take_over(state, replica, key))
        })
    };
    if !state.is_quiet() || is_taken_over() {
        return true;
    }
    let is_settled = |(request, replica): (RequestNumber, ReplicaNumber)| {
        let reported = &state.reported[request];
        let is_promised = reported.accepted[replica] || reported.accepted_in_store;
        let has_failed = state.replicas[replica].disk.failed[request]
            || is_marked_failed(protocol, state, request);
        !is_promised || has_failed || is_in_s3(protocol, state, request)
    };
    pairs(protocol).all(is_settled)
        && state.replicas.iter().all(|replica| replica.disk.local.is_empty())
}
