//! What must hold in every state: the promise of README, line by line.

use stateright::Property;

use crate::{
    goals,
    names::{ReplicaNumber, RequestNumber},
    protocol::Protocol,
    state::{REPLICAS, Sent, State},
    store::{Bundle, Key, Objects, Value},
};

/// One sentence that must be true in every state.
pub struct Invariant {
    /// The sentence.
    pub name: &'static str,
    /// Whether a state is as the sentence says.
    pub holds: fn(&Protocol, &State) -> bool,
}

/// What was accepted is in S3 whole, or will be: it is journaled, or durably FAILED.
pub const NOTHING_ACCEPTED_IS_LOST: &str = "nothing accepted is lost";
/// One id and content have at most one bundle, in S3 and in each local store.
pub const ONE_BUNDLE: &str = "one export has one bundle";
/// No object's bytes are ever replaced.
pub const NOTHING_IS_OVERWRITTEN: &str = "nothing is overwritten";
/// Where a manifest is, there are the artifacts it lists, and the index entry.
pub const MANIFEST_COMES_LAST: &str = "a manifest comes last";
/// A folder with a manifest holds that bundle's files only, all of the record's time and version.
pub const ONE_PIECE: &str = "a bundle is of one piece";
/// Reading by id finds every bundle.
pub const READERS_FIND_IT: &str = "readers find every bundle";
/// What was reported as stored locally is there until S3 has all of it.
pub const LOCAL_COPY_STAYS: &str = "a local copy stays until S3 has the bundle";
/// What was reported as stored in S3 is there, whole, in the folder that was named.
pub const STORED_MEANS_STORED: &str = "stored in S3 means stored in S3";
/// Who said `failed` never commits the export, nor does anybody who was never sent it.
pub const FAILED_IS_FINAL: &str = "failed is final";
/// What every replica refused that was asked makes no bundle.
pub const REFUSED_MEANS_REFUSED: &str = "a refused request makes no bundle";
/// While S3 answers, every run can go on.
pub const NOTHING_IS_STUCK: &str = "nothing is stuck";
/// When S3 answers and nothing is under way, every accepted export is in S3 and nothing is left
/// in the local stores.
pub const ALL_IS_SETTLED: &str = "all is settled in the end";

/// All invariants.
pub fn all() -> Vec<Invariant> {
    let invariant = |name, holds| Invariant { name, holds };
    vec![
        invariant(NOTHING_ACCEPTED_IS_LOST, nothing_accepted_is_lost),
        invariant(ONE_BUNDLE, one_bundle),
        invariant(NOTHING_IS_OVERWRITTEN, |_, state| !state.overwritten),
        invariant(MANIFEST_COMES_LAST, |_, state| {
            stores(state).all(|store| store.bundles().all(|bundle| store.is_whole(&bundle)))
        }),
        invariant(ONE_PIECE, |_, state| stores(state).all(is_of_one_piece)),
        invariant(READERS_FIND_IT, readers_find_it),
        invariant(LOCAL_COPY_STAYS, local_copy_stays),
        invariant(STORED_MEANS_STORED, stored_means_stored),
        invariant(FAILED_IS_FINAL, failed_is_final),
        invariant(REFUSED_MEANS_REFUSED, refused_means_refused),
        invariant(NOTHING_IS_STUCK, nothing_is_stuck),
        invariant(ALL_IS_SETTLED, all_is_settled),
    ]
}

/// All invariants and [`crate::goals`] for the checker.
pub(crate) fn properties() -> Vec<Property<Protocol>> {
    let always = all().into_iter().map(|Invariant { name, holds }| Property::always(name, holds));
    let sometimes =
        goals::all().into_iter().map(|goal| Property::sometimes(goal.name, goal.is_met));
    always.chain(sometimes).collect()
}

fn stores(state: &State) -> impl Iterator<Item = &Objects> {
    std::iter::once(&state.s3).chain(state.replicas.iter().map(|replica| &replica.disk.local))
}

fn requests(protocol: &Protocol) -> impl Iterator<Item = RequestNumber> {
    0..protocol.scenario.requests.len()
}

fn pairs(protocol: &Protocol) -> impl Iterator<Item = (RequestNumber, ReplicaNumber)> {
    requests(protocol).flat_map(|request| (0..REPLICAS).map(move |replica| (request, replica)))
}

fn bundles_of<'a>(
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
    bundles_of(protocol, store, request).any(|bundle| store.is_whole(&bundle))
}

fn nothing_accepted_is_lost(protocol: &Protocol, state: &State) -> bool {
    let is_safe_at = |request: RequestNumber, replica: ReplicaNumber| {
        let disk = &state.replicas[replica].disk;
        disk.journal[request].is_some() || disk.failed[request]
    };
    pairs(protocol).all(|(request, replica)| {
        let told = &state.told[request];
        let by_replica = !told.accepted[replica] || is_safe_at(request, replica);
        let in_store = !told.accepted_in_store
            || (0..REPLICAS).any(|replica| is_safe_at(request, replica))
            || has_entry(protocol, state, request);
        (by_replica && in_store) || is_in(protocol, &state.s3, request)
    })
}

/// Whether an entry in S3 lets any replica finish the request.
fn has_entry(protocol: &Protocol, state: &State, request: RequestNumber) -> bool {
    state.s3.iter().any(|(key, value)| {
        let (Key::Entry(id, _), Value::Entry { request: theirs, .. }) = (key, value) else {
            return false;
        };
        let Some(Value::Record { digest, .. }) = state.s3.get(Key::Record(id)) else {
            return false;
        };
        theirs == request && digest.content == protocol.request(request).content
    })
}

fn one_bundle(protocol: &Protocol, state: &State) -> bool {
    requests(protocol)
        .all(|request| stores(state).all(|store| bundles_of(protocol, store, request).count() <= 1))
}

fn is_of_one_piece(store: &Objects) -> bool {
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
            Some(_) => value == Value::Stranger,
            None => true,
        },
        _ => true,
    })
}

fn readers_find_it(protocol: &Protocol, state: &State) -> bool {
    let in_s3 = |bundle: Bundle| state.s3.bundle_of(bundle.source.id) == Some(bundle);
    let in_local = |store: &Objects, bundle: Bundle| {
        let id = bundle.source.id;
        let found = if protocol.mechanisms.local_folders_by_scan {
            store.committed_in(store.folders_by_scan(id), id)
        } else {
            store.bundle_of(id)
        };
        found == Some(bundle)
    };
    state.s3.bundles().all(in_s3)
        && state.replicas.iter().all(|replica| {
            let store = &replica.disk.local;
            store.bundles().all(|bundle| in_local(store, bundle))
        })
}

fn local_copy_stays(protocol: &Protocol, state: &State) -> bool {
    pairs(protocol).all(|(request, replica)| {
        !state.told[request].stored_locally[replica]
            || is_in(protocol, &state.replicas[replica].disk.local, request)
            || is_in(protocol, &state.s3, request)
    })
}

fn stored_means_stored(protocol: &Protocol, state: &State) -> bool {
    pairs(protocol).all(|(request, replica)| {
        state.told[request].stored_in_s3[replica].is_none_or(|folder| {
            bundles_of(protocol, &state.s3, request)
                .any(|bundle| bundle.folder == folder && state.s3.is_whole(&bundle))
        })
    })
}

fn failed_is_final(protocol: &Protocol, state: &State) -> bool {
    pairs(protocol).all(|(request, replica)| {
        !state.replicas[replica].disk.failed[request]
            || bundles_of(protocol, &state.s3, request).all(|bundle| {
                bundle.by != replica && state.told[request].sent[bundle.by] != Sent::Never
            })
    })
}

fn refused_means_refused(protocol: &Protocol, state: &State) -> bool {
    requests(protocol).all(|request| {
        let sent = &state.told[request].sent;
        let is_refused = sent.contains(&Sent::Refused) && !sent.contains(&Sent::Open);
        !is_refused || stores(state).all(|store| bundles_of(protocol, store, request).count() == 0)
    })
}

fn nothing_is_stuck(protocol: &Protocol, state: &State) -> bool {
    !state.s3_is_up
        || state.replicas.iter().all(|host| {
            host.runs.iter().flatten().all(|run| !protocol.parts(state, run).is_empty())
                && host
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
            state.s3.iter().any(|(key, _)| protocol.may_take_over(state, replica, key))
        })
    };
    if !state.is_quiet() || is_taken_over() {
        return true;
    }
    let is_settled = |(request, replica): (RequestNumber, ReplicaNumber)| {
        let told = &state.told[request];
        let is_promised = told.accepted[replica] || told.accepted_in_store;
        let has_failed = state.replicas[replica].disk.failed[request];
        !is_promised || has_failed || is_in(protocol, &state.s3, request)
    };
    pairs(protocol).all(is_settled)
        && state.replicas.iter().all(|replica| replica.disk.local.is_empty())
}
