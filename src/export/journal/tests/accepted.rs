//! Reading the journal without using it.

use super::*;

#[tokio::test]
async fn accepted_exports_are_read_without_a_change() {
    let data_dir = tempfile::tempdir().unwrap();
    assert_eq!(read_accepted(data_dir.path()).unwrap().count, 0);
    assert!(names_in(data_dir.path()).is_empty(), "reading creates no folder");
    let journal = open(&data_dir).await;
    for number in [2, 0, 1] {
        journal.record(&export(number)).await.unwrap();
    }
    let (damaged, later) = (export(7), export(8));
    fs::write(journal_path(&data_dir, &name(&damaged)), "damaged").unwrap();
    fs::write(journal_path(&data_dir, &name(&later)), "").unwrap();
    fs::write(journal_path(&data_dir, "notes.txt"), "no entry").unwrap();
    let retry = data_dir.path().join(".tara-export/journal/retry");
    fs::create_dir_all(&retry).unwrap();
    let released = name(&export(1));
    fs::rename(journal_path(&data_dir, &released), retry.join(&released)).unwrap();
    let folder = data_dir.path().join(".tara-export/journal");
    let before = (names_in(&folder), names_in(&retry));

    let accepted = read_accepted(data_dir.path()).unwrap();

    let ids: Vec<_> = accepted.headers.iter().map(|header| header.export_id).collect();
    assert_eq!(ids, [0, 1, 2].map(|number| export(number).export_id), "oldest first");
    assert_eq!(accepted.count, 5);
    let mut unreadable = accepted.unreadable;
    unreadable.sort();
    assert_eq!(unreadable, [damaged.export_id, later.export_id]);
    assert_eq!((names_in(&folder), names_in(&retry)), before, "nothing is quarantined or moved");
}
