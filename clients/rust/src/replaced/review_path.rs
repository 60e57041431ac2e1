//! Paths of values in a review, from their paths in a file.

use crate::{
    exact_json::Path,
    proto::{FeedbackSection, Review},
};

/// The review's path of a value in `session.json`.
pub(crate) fn of_session(path: &str) -> String {
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (key, rest) = path.split_at(end);
    let field = match key {
        "feedback_data" => "suggestions",
        "accepted_feedback" => "accepted",
        "rejected_feedback" => "rejected",
        "user_feedback" => "user_created",
        "sections" => "section_names",
        other => other,
    };
    format!("{field}{rest}")
}

/// The review's path of a value in a `StartExportRequest` in proto3 JSON. Feedback has the section's name
/// in place of its number.
pub(crate) fn of_request(path: &str, review: &Review) -> String {
    let Some(path) = path.strip_prefix("review.") else { return path.to_owned() };
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let field = snake_case(name);
    let sections = match field.as_str() {
        "suggestions" => &review.suggestions,
        "accepted" => &review.accepted,
        "rejected" => &review.rejected,
        "user_created" => &review.user_created,
        _ => return format!("{field}{rest}"),
    };
    of_section(&field, rest, sections).unwrap_or_else(|| format!("{field}{rest}"))
}

/// Converts `[0].items[1].additionalFields.x` to `field.Section[1].x`.
fn of_section(field: &str, rest: &str, sections: &[FeedbackSection]) -> Option<String> {
    let (number, rest) = rest.strip_prefix('[')?.split_once(']')?;
    let section = sections.get(number.parse::<usize>().ok()?)?;
    let rest = rest.strip_prefix(".items")?;
    let (number, rest) = rest.strip_prefix('[')?.split_once(']')?;
    let free_form = ["additionalFields", "additional_fields"].into_iter().find_map(|name| {
        rest.strip_prefix('.')?.strip_prefix(name).filter(|rest| rest.starts_with(['.', '[']))
    });
    let rest = match free_form {
        Some(rest) => rest.to_owned(),
        None => {
            let end = rest.get(1..)?.find(['.', '[']).map_or(rest.len(), |end| end + 1);
            format!("{}{}", snake_case(&rest[..end]), &rest[end..])
        }
    };
    let list = Path::Top.key(field);
    Some(format!("{}[{number}]{rest}", list.key(&section.name)))
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}
