//! Checks what listings rely on: new objects are listed at once, in the order of the keys' bytes, and a listing can be
//! continued after a key and with a token.

use super::{
    super::{
        PutOutcome, Store as _, StoreError,
        probe::{Finding, probe_key, probe_payload},
    },
    S3Store,
    list::PageRequest,
    probe::failed,
};

/// The folders of the probe objects, below the one of all probes.
const ORDER: &str = "order/";
const GROUPED: &str = "grouped/";
const NEW: &str = "new/";

/// Names in the order of their bytes. Orders by locale or by hash differ from it. Without folders, because the
/// service relies on the order within one folder only: SeaweedFS lists folder by folder.
const NAMES: [&str; 8] = ["-", "B", "a-1", "a.1", "a1", "a_1", "b", "~"];
/// Names with one folder.
const GROUPED_NAMES: [&str; 2] = ["a/1", "a/2"];
/// The name after which a listing is continued.
const MIDDLE: usize = 3;
/// Keys of a page, fewer than there are names.
const PAGE_KEYS: usize = 3;
/// How many objects show over time that new objects are listed. Each check puts the next one.
const NEW_OBJECTS: usize = 64;

/// Checks the listings of a store that can be written.
pub(super) async fn check(store: &S3Store) -> Finding {
    match findings(store).await {
        Ok(finding) => finding,
        Err(error) => failed(&error),
    }
}

async fn findings(store: &S3Store) -> Result<Finding, StoreError> {
    if !lists_new_objects(store).await? {
        return Ok(Finding::failed(
            "the listing does not contain an object that was just stored",
            "Lists could miss exports. Use a server with consistent listings.",
        ));
    }
    let all = NAMES.map(|name| format!("{}{name}", prefix(ORDER)));
    let listed = page(store, &PageRequest { max_keys: 1000, ..request(ORDER) }).await?.0;
    let is_ordered = listed == all;
    let after =
        PageRequest { start_after: Some(all[MIDDLE].clone()), max_keys: 1000, ..request(ORDER) };
    let continues_after_key = page(store, &after).await?.0 == all[MIDDLE + 1..];
    let continues_by_token = sorted(by_token(store).await?) == all;
    let grouped = PageRequest { delimited: true, max_keys: 1000, ..request(GROUPED) };
    let folder = format!("{}a/", prefix(GROUPED));
    let groups = page(store, &grouped).await?.0.iter().filter(|name| **name == folder).count() == 1;

    let problem = match (is_ordered, continues_after_key) {
        (false, _) => "the server does not list keys in the order of their bytes",
        (true, false) => "the server ignores start-after",
        (true, true) if !continues_by_token => {
            return Ok(Finding::warning(
                "the server ignores continuation tokens",
                "Lists continue after their last key instead. They end early only after 1,000 foreign objects in a \
                 row. Prefer a server that honours continuation tokens.",
            ));
        }
        (true, true) if !groups => {
            return Ok(Finding::warning(
                "the server ignores the delimiter of a listing",
                "`tara-export adopt` does not find the folders of this bucket. Everything else works.",
            ));
        }
        (true, true) => {
            return Ok(Finding::passed("objects are listed at once, in order, and page by page"));
        }
    };
    Ok(match continues_by_token {
        true => Finding::warning(
            problem,
            "Lists are complete, but each page reads the complete index, so that they become slower with each export. \
             Use a server that lists keys as Amazon S3 does, such as MinIO or SeaweedFS.",
        ),
        false => Finding::failed(
            format!("{problem}, and ignores continuation tokens"),
            "Lists cannot be complete. Use a server that lists keys as Amazon S3 does, such as MinIO or SeaweedFS.",
        ),
    })
}

/// Puts the missing probe objects, and returns whether the listing has all of them immediately.
async fn lists_new_objects(store: &S3Store) -> Result<bool, StoreError> {
    let order = NAMES.map(|name| format!("{ORDER}{name}"));
    let grouped = GROUPED_NAMES.map(|name| format!("{GROUPED}{name}"));
    if !lists_after_put(store, ORDER, &order, order.len()).await?
        || !lists_after_put(store, GROUPED, &grouped, grouped.len()).await?
    {
        return Ok(false);
    }
    let new: Vec<String> = (0..NEW_OBJECTS).map(|number| format!("{NEW}{number:02}")).collect();
    lists_after_put(store, NEW, &new, 1).await
}

/// Puts the first `count` of these objects that are not listed, and returns whether the next listing has them. An
/// object that was not listed although it existed is not listed in time either.
async fn lists_after_put(
    store: &S3Store,
    folder: &str,
    names: &[String],
    count: usize,
) -> Result<bool, StoreError> {
    let all = PageRequest { max_keys: 1000, ..request(folder) };
    let listed = page(store, &all).await?.0;
    let mut put = Vec::new();
    for name in names {
        let key = probe_key(name);
        if put.len() == count || listed.iter().any(|listed| listed == key.as_str()) {
            continue;
        }
        if store.put_if_absent(&key, probe_payload()).await? == PutOutcome::Exists {
            return Ok(false);
        }
        put.push(key);
    }
    if put.is_empty() {
        return Ok(true);
    }
    let listed = page(store, &all).await?.0;
    Ok(put.iter().all(|key| listed.iter().any(|listed| listed == key.as_str())))
}

/// All names, read in small pages by continuation tokens; incomplete if a page is repeated.
async fn by_token(store: &S3Store) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    let mut next = PageRequest { max_keys: PAGE_KEYS, ..request(ORDER) };
    // Twice as many pages as needed.
    for _ in 0..2 * NAMES.len() {
        let (listed, token) = page(store, &next).await?;
        names.extend(listed);
        match token {
            Some(token) => next.token = Some(token),
            None => break,
        }
    }
    Ok(names)
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

fn prefix(folder: &str) -> String {
    format!(".tara-export/probe/{folder}")
}

fn request(folder: &str) -> PageRequest {
    PageRequest { prefix: prefix(folder), ..PageRequest::default() }
}

async fn page(
    store: &S3Store,
    request: &PageRequest,
) -> Result<(Vec<String>, Option<String>), StoreError> {
    let (mut names, token) = store
        .raw_page(request)
        .await
        .map_err(|failure| failure.into_store_error("list", &store.location(&request.prefix)))?;
    names.retain(|name| name.starts_with(&request.prefix));
    Ok((names, token))
}
