use proptest::prelude::*;

use super::*;

#[test]
fn readable_names_are_kept() {
    for (name, stem, dotted) in [
        ("incident_report.docx", "incident_report", ".docx"),
        ("Incident Report (final) v1.2.DOCX", "Incident_Report_(final)_v1.2", ".DOCX"),
        ("v1.2", "v1.2", ""),
        ("foo..bar", "foo..bar", ""),
        ("report.tar.gz", "report.tar", ".gz"),
        ("Bericht über Größe.pdf", "Bericht_über_Größe", ".pdf"),
        ("報告書（最終）.docx", "報告書_最終", ".docx"),
        ("دستور‌العمل.docx", "دستور‌العمل", ".docx"),
        ("रिपोर्ट.docx", "रिपोर्ट", ".docx"),
        ("👩‍🚒👍🏽❤️.md", "👩‍🚒👍🏽❤️", ".md"),
        // NFD becomes NFC.
        ("re\u{301}sume\u{301}.doc", "r\u{e9}sum\u{e9}", ".doc"),
        ("it's - fine!.txt", "it's_-_fine!", ".txt"),
        ("no extension.", "no_extension", ""),
        ("a.toolongextension", "a.toolongextension", ""),
    ] {
        assert_eq!(clean_stem(name), stem, "{name}");
        assert_eq!(extension(name), dotted, "{name}");
    }
}

#[test]
fn harmful_characters_are_replaced() {
    for (name, stem) in [
        ("", "document"),
        ("...", "document"),
        ("///", "document"),
        ("\u{200D}\u{200C}", "document"),
        ("\u{301}", "document"),
        ("..", "document"),
        (".docx", "docx"),
        ("../../etc/passwd", "etc_passwd"),
        ("..\\..\\windows\\system32.ini", "windows_system32"),
        ("C:\\reports\\q3.docx", "C_reports_q3"),
        ("%2e%2e%2fetc", "2e_2e_2fetc"),
        ("\u{FF0E}\u{FF0E}\u{FF0F}etc\u{FF3C}x", "etc_x"),
        ("a\u{2044}b\u{2215}c\u{29F8}d\u{FE68}e\u{2024}f\u{2571}g", "a_b_c_d_e_f_g"),
        ("a\0b\nc\u{7f}d\u{85}e", "a_b_c_d_e"),
        ("invoice\u{202E}cod.exe", "invoice_cod"),
        ("a\u{E000}b\u{FFFFE}c\u{AD}d\u{FEFF}e", "a_b_c_d_e"),
        ("x :*?\"<>|%#&+,;=@~$^{}[]` y", "x_y"),
        // A Greek question mark and a Greek grave accent are normalized to `;` and a backtick.
        ("a\u{37E}b\u{1FEF}c", "a_b_c"),
        ("con", "_con"),
        ("Nul.txt", "_Nul"),
        ("COM1.backup.docx", "_COM1.backup"),
        ("lpt³", "_lpt³"),
        ("COM10", "COM10"),
        ("console.log", "console"),
        ("_CON_", "_CON"),
        ("trailing. . .", "trailing"),
    ] {
        assert_eq!(clean_stem(name), stem, "{name:?}");
    }
}

#[test]
fn long_names_are_cut_between_characters() {
    assert_eq!(clean_stem(&"x".repeat(2048)), "x".repeat(199));
    assert_eq!(clean_stem(&"語".repeat(700)), "語".repeat(66));
    // Neither between a letter and its mark nor within a joined emoji.
    assert_eq!(clean_stem(&format!("{}q\u{323}", "x".repeat(198))), "x".repeat(198));
    let family = "👩‍👩‍👧";
    assert_eq!(clean_stem(&format!("{}{family}", "x".repeat(190))), "x".repeat(190));
    // A letter with more marks than the limit allows still has a stem.
    assert_eq!(
        clean_stem(&format!("q{}", "\u{323}".repeat(300))),
        format!("q{}", "\u{323}".repeat(99))
    );
    // Only the cut makes it a reserved name.
    assert_eq!(clean_stem(&format!("CON:{}x y", ".".repeat(300))), "_CON");
}

/// Names with special characters of paths and arbitrary others.
fn hostile_name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<String>(),
        "[ -~]{0,8}",
        "[./\\\\_:\u{200D}\u{301}\u{FF0F}\u{2024}\u{0}-\u{1F}]{0,20}",
        "(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])",
        "x{0,210}",
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_name_has_a_safe_stem(name in hostile_name()) {
        let stem = clean_stem(&name);
        prop_assert!(!stem.is_empty() && stem.len() <= MAX_STEM_BYTES);
        prop_assert!(!stem.starts_with('.') && !stem.ends_with('.') && !stem.ends_with('_'));
        prop_assert!(!stem.contains(|c: char| c.is_control() || c.is_whitespace() || "/\\:*?\"<>|".contains(c)));
        prop_assert!(!is_reserved(&stem));
        prop_assert!(unicode_normalization::is_nfc(&stem));
        prop_assert!(extension(&name).len() <= 11);
    }

    #[test]
    fn cleaning_is_idempotent(name in hostile_name()) {
        let stem = clean_stem(&name);
        prop_assert_eq!(clean(&stem), stem);
    }
}
