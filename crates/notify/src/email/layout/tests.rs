#![allow(clippy::unwrap_used)]

use tara_export_events::testing::sample;

use super::*;

fn built_in_layout(locale: Locale, names: Names) -> Layout {
    Layout::read(None, None, locale, names).unwrap()
}

#[test]
fn mail_says_what_happened_in_words_and_what_to_do() {
    let events = [
        sample(EventType::FellBack, 1),
        sample(EventType::FellBack, 2),
        sample(EventType::Failed, 3),
    ];
    let events: Vec<&Event> = events.iter().collect();
    let rendered = built_in_layout(Locale::English, Names::Included).render(&events).unwrap();
    assert_eq!(rendered.subject, "tara-export: 2 exports fell back to local disk, 1 export failed");
    let expected = "\
2 exports fell back to local disk, 1 export failed

Fell back to local disk
Export: exports/00000000-0000-0000-0000-000000000001
Document: Report.docx
Reviewer: Ada
Time: 2023-11-14 22:13:21 UTC
Reason: The store was slow, overloaded or unreachable. (STORE_UNAVAILABLE)
Details: S3 does not answer
Location: /data/20231114_221320_Report
";
    assert!(rendered.text.starts_with(expected), "{}", rendered.text);
    assert!(rendered.text.contains("(DATA_LOSS)"), "{}", rendered.text);
    assert!(rendered.text.contains("- Failed: Correct the reason"), "{}", rendered.text);
    assert_eq!(rendered.text.matches("- Fell back to local disk: Nothing now").count(), 1);
    for part in ["<html lang=\"en\">", "Report.docx", "STORE_UNAVAILABLE", "22:13:21 UTC"] {
        assert!(rendered.html.contains(part), "{part} {}", rendered.html);
    }
}

#[test]
fn mail_without_names_has_no_name_and_no_location() {
    for event_type in EventType::ALL {
        let event = sample(event_type, 1);
        for locale in Locale::ALL {
            let layout = built_in_layout(locale, Names::Omitted);
            let rendered = layout.render(&[&event]).unwrap();
            for part in [&rendered.subject, &rendered.text, &rendered.html] {
                for name in ["Report", "Ada", "20231114", "bucket", "S3 does not answer"] {
                    assert!(!part.contains(name), "{locale:?} {name} {part}");
                }
                assert!(!part.trim().is_empty() && !part.contains("{{"), "{part}");
            }
            assert!(rendered.text.contains(&event.subject()));
        }
    }
}

#[test]
fn digest_lists_100_exports_and_the_number_of_the_others() {
    let events: Vec<Event> = (0..112).map(|number| sample(EventType::FellBack, number)).collect();
    let events: Vec<&Event> = events.iter().collect();
    let layout = built_in_layout(Locale::English, Names::Included);
    let rendered = layout.render(&events).unwrap();
    assert_eq!(rendered.subject, "tara-export: 112 exports fell back to local disk");
    assert_eq!(rendered.text.matches("Export: exports/").count(), MAX_ROWS);
    assert!(rendered.text.contains("\nand 12 more\n"), "{}", rendered.text);
    assert!(rendered.html.contains("<p>and 12 more</p>"));
    let rendered = layout.render(&events[..100]).unwrap();
    assert!(!rendered.text.contains(" more\n"));
}

#[test]
fn names_that_become_long_leave_fewer_rows() {
    let events: Vec<Event> = (0..100)
        .map(|number| {
            let mut event = sample(EventType::FellBack, number);
            event.export_mut().document_name = "/".repeat(1_000);
            event.export_mut().location = "\"".repeat(1_000);
            event.message = "<".repeat(10_000);
            event
        })
        .collect();
    let events: Vec<&Event> = events.iter().collect();
    let rendered = built_in_layout(Locale::English, Names::Included).render(&events).unwrap();
    assert_eq!(rendered.text.matches("Export: exports/").count(), 25);
    assert!(rendered.text.contains("and 75 more"));
    assert!(rendered.html.len() < 300_000);
}

#[test]
fn markup_in_names_is_text() {
    let mut event = sample(EventType::Failed, 1);
    event.export_mut().document_name = "</bdi><script>alert('1')</script> {{ 7 * 7 }}".to_owned();
    let rendered = built_in_layout(Locale::English, Names::Included).render(&[&event]).unwrap();
    assert!(!rendered.html.contains("<script"), "{}", rendered.html);
    assert!(!rendered.html.contains("49"), "{}", rendered.html);
}

#[test]
fn files_of_the_operator_replace_parts_for_their_type_and_locale() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("failed.en.subject", "Failed: {{ data.document_name }}");
    write("digest.en.txt", "{{ count }} events");
    write("failed.de.txt", "nicht verwendet");
    let source = TemplateSource::new(folder.path());
    let read = |template: Option<&str>| {
        let template = template.map(str::to_owned);
        Layout::read(Some(&source), template, Locale::English, Names::Included).unwrap()
    };
    let (failed, synced) = (sample(EventType::Failed, 1), sample(EventType::Synced, 2));
    let rendered = read(None).render(&[&failed]).unwrap();
    assert_eq!(rendered.subject, "Failed: Report.docx");
    assert!(rendered.text.starts_with("1 export failed"), "{}", rendered.text);
    let rendered = read(None).render(&[&failed, &synced]).unwrap();
    assert!(rendered.subject.starts_with("tara-export: "), "{}", rendered.subject);
    assert_eq!(rendered.text, "2 events");
    write("alert.en.txt", "{{ rows[0].export }}");
    let rendered = read(Some("alert")).render(&[&failed]).unwrap();
    assert_eq!(rendered.text, format!("exports/{}", failed.subject_id()));
    assert!(rendered.subject.starts_with("tara-export: "), "{}", rendered.subject);
}

#[test]
fn built_in_templates_replace_one_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let text = "{% if count > 50 %}{{ unknown.field }}{% endif %}{{ count }}";
    std::fs::write(folder.path().join("failed.en.txt"), text).unwrap();
    let source = TemplateSource::new(folder.path());
    let layout = Layout::read(Some(&source), None, Locale::English, Names::Omitted).unwrap();
    let events: Vec<Event> = (0..60).map(|number| sample(EventType::Failed, number)).collect();
    let events: Vec<&Event> = events.iter().collect();
    assert_eq!(layout.render(&events[..50]).unwrap().text, "50");
    let rendered = layout.render(&events).unwrap();
    assert!(rendered.text.starts_with("60 exports failed"), "{}", rendered.text);
}
