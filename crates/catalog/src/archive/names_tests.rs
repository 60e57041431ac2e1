#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const FOLDER: &str = "20261122_183700_a";

fn names(folder: &str, paths: &[&str]) -> ArchiveNames {
    let paths: Vec<ArtifactPath> = paths.iter().map(|path| path.parse().unwrap()).collect();
    ArchiveNames::new(&folder.parse().unwrap(), &paths)
}

fn files(paths: &[&str]) -> Vec<String> {
    let names = names(FOLDER, paths);
    assert_eq!(names.root, FOLDER);
    names.files
}

fn digits(path: &str) -> String {
    Sha256::of(path.as_bytes()).to_string()[..8].to_owned()
}

#[test]
fn usual_names_are_unchanged() {
    let paths = [
        "comprehensive_report.json",
        "documents/before_報告 👩‍🚒.docx",
        "feedback/user_custom_feedback.json",
        "manifest.json",
        "notes/reviewer's own (final).txt",
    ];
    assert_eq!(files(&paths), paths);
}

#[test]
fn names_that_windows_refuses_are_replaced() {
    let cases = [
        ("a<b>c:d\"e|f?g*.txt", "a_b_c_d_e_f_g_.txt"),
        ("notes./a.txt", "notes_/a.txt"),
        ("notes /b.txt", "notes_/b.txt"),
        ("c.txt.", "c.txt_"),
        ("d.txt ", "d.txt_"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("com1.a.b", "_com1.a.b"),
        ("LPT³/x", "_LPT³/x"),
        ("conin$", "_conin$"),
        ("console.txt", "console.txt"),
        ("COM10", "COM10"),
        ("invoice\u{202e}cod.exe", "invoice_cod.exe"),
        ("-", "_-"),
    ];
    for (path, name) in cases {
        assert_eq!(files(&[path]), [name], "{path:?}");
    }
    assert_eq!(names("CON", &["a"]).root, "_CON");
    assert_eq!(names("review: final.", &["a"]).root, "review_ final_");
}

#[test]
fn names_that_are_equal_on_some_systems_differ_in_the_archive() {
    let second = |path: &str, start: &str, end: &str| format!("{start}~{}{end}", digits(path));
    assert_eq!(files(&["A.txt", "a.txt"]), ["A.txt".to_owned(), second("a.txt", "a", ".txt")]);
    assert_eq!(
        files(&["Straße", "strasse"]),
        ["Straße".to_owned(), second("strasse", "strasse", "")]
    );
    assert_eq!(files(&["e\u{301}", "é"]), ["e\u{301}".to_owned(), second("é", "é", "")]);
    // Folders too: Windows would unpack both into one.
    let folder = second("docs", "docs", "");
    assert_eq!(
        files(&["Docs/a", "docs/a", "docs/b"]),
        ["Docs/a".to_owned(), format!("{folder}/a"), format!("{folder}/b")]
    );
    // S3 has files and folders with the same name.
    assert_eq!(files(&["a", "a/b"]), ["a".to_owned(), format!("{}/b", second("a", "a", ""))]);
    // An unchanged name is never taken by a changed one.
    assert_eq!(
        files(&["a:b.txt", "a_b.txt"]),
        [second("a:b.txt", "a_b", ".txt"), "a_b.txt".to_owned()]
    );
    // The list of digests and the manifest are not from the bundle's other files.
    assert_eq!(
        files(&["Manifest.JSON", "SHA256SUMS", "manifest.json", "sha256sums/a"]),
        [
            second("Manifest.JSON", "Manifest", ".JSON"),
            second("SHA256SUMS", "SHA256SUMS", ""),
            "manifest.json".to_owned(),
            format!("{}/a", second("sha256sums", "sha256sums", "")),
        ]
    );
    // A name that looks like a changed one.
    let looks_changed = second("a.txt", "a", ".txt");
    let found = files(&["A.txt", "a.txt", &looks_changed]);
    assert_eq!(found.iter().map(|name| folded(name)).collect::<HashSet<_>>().len(), 3);
}

#[test]
fn long_names_are_cut_to_200_characters() {
    let stem = "x".repeat(200);
    let folder = format!("20261122_183700_{stem}");
    let document = format!("documents/guidelines_{stem}.docx");
    let named = names(&folder, &["comprehensive_report.json", &document, "manifest.json"]);
    assert_eq!(named.root, format!("20261122_183700_{}~{}", "x".repeat(55), digits(&folder)));
    assert_eq!(named.files[0], "comprehensive_report.json");
    assert_eq!(named.files[2], "manifest.json");
    let cut = &named.files[1];
    assert!(cut.starts_with("documents/guidelines_xxx"), "{cut}");
    assert!(cut.ends_with(&format!("x~{}.docx", digits(&document))), "{cut}");
    assert_eq!(named.root.len() + 1 + cut.len(), 200);

    // Exactly 200 are kept.
    let exact = format!("documents/{}.docx", "y".repeat(200 - FOLDER.len() - 1 - 15));
    assert_eq!(files(&[&exact]), [exact.as_str()]);
    // Windows counts UTF-16: emoji count twice.
    let emoji = format!("{}.docx", "😀".repeat(60));
    let folder = "20261122_183700_".to_owned() + &"é".repeat(90);
    let named = names(&folder, &[&emoji]);
    assert!(units(&named.root) + 1 + units(&named.files[0]) <= 200);
}

#[test]
fn deep_folders_become_one() {
    let deep = vec!["folder"; 50].join("/");
    let other = format!("{deep}/../x").replace("..", "sub");
    let [first, second] = [format!("{deep}/before.docx"), format!("{deep}/after.docx")];
    let found = files(&[&first, &second, &other]);
    let flat = found[0].strip_suffix("/before.docx").unwrap();
    assert!(flat.starts_with("folder_folder") && flat.ends_with(&digits(&deep)), "{flat}");
    assert!(!flat.contains('/') && flat.len() <= MAX_FLAT_FOLDER);
    assert_eq!(found[1], format!("{flat}/after.docx"));
    assert_ne!(found[2].split('/').next().unwrap(), flat);
}

fn component() -> impl Strategy<Value = String> {
    let long = ("[a-bA-B.: ~é😀]{1,60}", 1_usize..5).prop_map(|(text, times)| text.repeat(times));
    prop_oneof![
        "[aAbB]{1,2}",
        "[a-b.:? ]{1,4}",
        long,
        Just("con".to_owned()),
        Just("SHA256SUMS".to_owned()),
        any::<String>(),
    ]
}

fn path() -> impl Strategy<Value = Option<ArtifactPath>> {
    prop::collection::vec(component(), 1..30).prop_map(|names| {
        let mut path = names.join("/");
        path.truncate(path.floor_char_boundary(600));
        path.parse().ok()
    })
}

proptest! {
    #[test]
    fn every_bundle_has_names_for_every_system(
        folder in component(),
        paths in prop::collection::vec(path(), 1..40),
    ) {
        let Ok(folder) = folder.parse::<FolderName>() else { return Ok(()) };
        let mut paths: Vec<ArtifactPath> = paths.into_iter().flatten().collect();
        paths.push(ArtifactPath::manifest());
        paths.sort();
        paths.dedup();
        let named = ArchiveNames::new(&folder, &paths);
        prop_assert!(named.root.len() <= MAX_ROOT_BYTES);
        let mut entries: HashSet<String> = HashSet::from([folded(SUMS)]);
        let mut folders = HashSet::new();
        for (path, file) in paths.iter().zip(&named.files) {
            let entry = format!("{}/{file}", named.root);
            prop_assert!(units(&entry) <= MAX_ENTRY, "{entry:?}");
            // Valid as a path of a bundle, and unchanged by the rules.
            prop_assert!(file.parse::<ArtifactPath>().is_ok(), "{file:?}");
            prop_assert_eq!(&portable_path(&entry), &entry);
            prop_assert!(entries.insert(folded(file)), "{file:?} occurs twice");
            let mut end = 0;
            while let Some(at) = file[end..].find('/') {
                folders.insert((folded(&file[..end + at]), file[..end + at].to_owned()));
                end += at + 1;
            }
            prop_assert_eq!(path.as_str() == "manifest.json", file == "manifest.json");
        }
        let spellings: HashSet<&String> = folders.iter().map(|(folded, _)| folded).collect();
        prop_assert_eq!(spellings.len(), folders.len(), "folders that differ in case only");
        prop_assert!(spellings.is_disjoint(&entries.iter().collect()), "a file and a folder");
    }
}
