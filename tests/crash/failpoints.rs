//! The names of all failpoints in the source.

use std::{collections::BTreeSet, fs, path::Path};

/// Every `failpoint!("…")` below `src/` and `crates/`.
pub(crate) fn names_in_source() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["src", "crates"] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut names);
    }
    names
}

fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("failpoint/src/lib.rs")
        {
            let code = fs::read_to_string(&path).unwrap();
            let calls = code.split("failpoint!(").skip(1);
            names.extend(calls.map(|call| call.split('"').nth(1).unwrap().to_owned()));
        }
    }
}
