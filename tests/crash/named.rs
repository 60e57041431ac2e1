//! The names of all places where a test can end the process, as the source has them.

use std::{collections::BTreeSet, fs, path::Path};

/// Every `failpoint!("…")` below `src/`.
pub(crate) fn in_source() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    names
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else if !path.ends_with("failpoint.rs") {
            let code = fs::read_to_string(&path).unwrap();
            let calls = code.split("failpoint!(").skip(1);
            names.extend(calls.map(|call| call.split('"').nth(1).unwrap().to_owned()));
        }
    }
}
