#![allow(clippy::unwrap_used)]

use std::time::Duration;

use mail_parser::{MessageParser, MimeHeaders as _};
use tara_export_events::{EventType, Names, testing::sample};

use super::*;
use crate::{
    email::{address::tests::unescaped, catalogue::Locale, layout::Layout, line::is_unprintable},
    templates::TemplateSource,
};

fn letterhead() -> Letterhead {
    Letterhead {
        from: Mailbox::parse("Prüfung <audit@example.com>").unwrap(),
        reply_to: Some(Mailbox::parse("help@example.com").unwrap()),
    }
}

fn recipients() -> Vec<EmailAddress> {
    ["a@example.com", "b@münchen.example"].map(|text| EmailAddress::parse(text).unwrap()).to_vec()
}

fn date() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn corpus() -> Vec<String> {
    let lines = include_str!("corpus.txt").lines().filter(|line| !line.starts_with("# "));
    let mut texts: Vec<String> = lines.map(unescaped).collect();
    texts.push("a".repeat(100_000));
    texts.push("ä".repeat(100_000));
    texts.push("a\r\n".repeat(10_000));
    texts.push((0..=0x2fff).filter_map(char::from_u32).collect());
    texts
}

/// Checks that the mail has exactly the expected headers, recipients and parts, and only characters that are shown.
fn assert_unchanged(mail: &[u8], hostile: &str) {
    assert!(mail.is_ascii(), "{hostile:?}");
    let is_line_end = |position: usize| match mail[position] {
        b'\r' => mail.get(position + 1) == Some(&b'\n'),
        b'\n' => position > 0 && mail[position - 1] == b'\r',
        _ => true,
    };
    assert!((0..mail.len()).all(is_line_end), "{hostile:?}");
    assert!(mail.split(|&byte| byte == b'\n').all(|line| line.len() <= 999), "{hostile:?}");

    let parsed = MessageParser::default().parse(mail).unwrap();
    let names: Vec<&str> = parsed.headers().iter().map(|header| header.name()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [
            "Auto-Submitted",
            "Content-Type",
            "Date",
            "From",
            "MIME-Version",
            "Message-ID",
            "Reply-To",
            "Subject",
            "To",
        ],
        "{hostile:?}"
    );
    let addresses = |list: Option<&mail_parser::Address<'_>>| -> Vec<String> {
        list.unwrap().iter().map(|one| one.address().unwrap().to_owned()).collect()
    };
    assert_eq!(addresses(parsed.to()), ["a@example.com", "b@xn--mnchen-3ya.example"]);
    assert_eq!(addresses(parsed.from()), ["audit@example.com"]);
    assert_eq!(addresses(parsed.reply_to()), ["help@example.com"]);
    assert!(parsed.cc().is_none() && parsed.bcc().is_none());
    assert_eq!((parsed.text_body_count(), parsed.html_body_count()), (1, 1), "{hostile:?}");
    assert_eq!((parsed.parts.len(), parsed.attachment_count()), (3, 0), "{hostile:?}");
    for part in &parsed.parts[1..] {
        let kind = part.content_type().unwrap();
        assert_eq!(kind.ctype(), "text");
        assert!(["plain", "html"].contains(&kind.subtype().unwrap()));
    }
    let is_hidden = |character| is_unprintable(character) && !"\r\n\t".contains(character);
    let subject = parsed.subject().unwrap_or_default();
    assert!(!subject.contains(is_unprintable), "{subject:?}");
    for body in [parsed.body_text(0).unwrap(), parsed.body_html(0).unwrap()] {
        assert!(!body.contains(is_hidden), "{hostile:?} {body:?}");
    }
    let html = parsed.body_html(0).unwrap().to_ascii_lowercase();
    for tag in ["<script", "<img", "<style", "<!--"] {
        assert!(!html.contains(tag), "{hostile:?} {html}");
    }
}

#[test]
fn hostile_texts_add_no_header_no_recipient_and_no_part() {
    let folder = tempfile::tempdir().unwrap();
    let source = TemplateSource::new(folder.path());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    // Templates of an operator put names where the built-in ones do not.
    write("own.en.subject", "{{ data.document_name }} {{ data.state_reason }}");
    write("own.en.txt", "{{ data.document_name }}\n{{ data.location }}\n{{ data.message }}");
    write("own.en.html", "<p title=\"{{ data.document_name }}\">{{ data.reviewer }}</p>");
    for template in [None, Some("own".to_owned())] {
        let layout =
            Layout::read(Some(&source), template, Locale::English, Names::Included).unwrap();
        for hostile in corpus() {
            let mut event = sample(EventType::Failed, 1);
            event.message.clone_from(&hostile);
            let export = event.export_mut();
            export.document_name.clone_from(&hostile);
            export.reviewer.clone_from(&hostile);
            export.session_id.clone_from(&hostile);
            export.location.clone_from(&hostile);
            export.state_reason.clone_from(&hostile);
            let rendered = layout.render(&[&event]).unwrap();
            let id = message_id(&[&event], &letterhead().from.address, &recipients(), "en");
            let mail = compose(&letterhead(), &recipients(), rendered, id, date()).unwrap();
            assert_unchanged(&mail, &hostile);
        }
    }
}

#[test]
fn mail_has_its_headers_and_two_parts() {
    let events = [sample(EventType::FellBack, 1), sample(EventType::FellBack, 2)];
    let events: Vec<&Event> = events.iter().collect();
    for locale in Locale::ALL {
        let layout = Layout::read(None, None, locale, Names::Included).unwrap();
        let rendered = layout.render(&events).unwrap();
        let id = message_id(&events, &letterhead().from.address, &recipients(), locale.as_str());
        let mail =
            compose(&letterhead(), &recipients(), rendered.clone(), id.clone(), date()).unwrap();
        assert_unchanged(&mail, locale.as_str());
        let parsed = MessageParser::default().parse(&mail).unwrap();
        assert_eq!(parsed.header_raw("Auto-Submitted").unwrap().trim(), "auto-generated");
        assert_eq!(parsed.header_raw("Message-ID").unwrap().trim(), id);
        assert_eq!(parsed.date().unwrap().to_timestamp(), 1_700_000_000);
        assert_eq!(parsed.subject(), Some(rendered.subject.as_str()));
        let from = parsed.from().unwrap().first().unwrap();
        assert_eq!(from.name(), Some("Prüfung"));
        assert_eq!(parsed.body_text(0).unwrap().replace("\r\n", "\n"), rendered.text);
        assert_eq!(parsed.body_html(0).unwrap().replace("\r\n", "\n"), rendered.html);
    }
}

#[test]
fn message_id_is_that_of_the_content() {
    let (first, second) = (sample(EventType::FellBack, 1), sample(EventType::FellBack, 2));
    let from = &letterhead().from.address;
    let id = |events: &[&Event], recipients: &[EmailAddress], locale| {
        message_id(events, from, recipients, locale)
    };
    let one = id(&[&first], &recipients(), "en");
    assert_eq!(one, id(&[&first], &recipients(), "en"));
    assert!(one.starts_with(&format!("<{}.", first.id())), "{one}");
    assert!(one.ends_with("@example.com>"), "{one}");
    for other in [
        id(&[&first, &second], &recipients(), "en"),
        id(&[&first], &recipients()[1..], "en"),
        id(&[&first], &recipients(), "de"),
    ] {
        assert_ne!(one, other);
    }
}
