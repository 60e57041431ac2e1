//! Checks the bucket's lifecycle rules.
//!
//! Old uploads, which the service may lack the right to delete, and unrecorded parts left by a crash are removed
//! by lifecycle rules (Amazon S3 User Guide, "Managing the lifecycle of objects").

use aws_sdk_s3::{
    error::ProvideErrorMetadata as _,
    types::{ExpirationStatus, IntelligentTieringStatus, LifecycleRule, TransitionStorageClass},
};

use super::{super::probe::Finding, S3Store, failure::Failure};

/// The prefix of uploads, within the base path.
const UPLOADS: &str = ".tara-export/uploads/";

/// The prefixes whose objects must not expire before the bundles, within the base path, each with the consequence
/// if they do.
const REQUIRED: [(&str, &str); 3] = [
    (
        ".tara-export/exports/",
        "GetExport would not find the bundles, and a repeated request would create a second one",
    ),
    (".tara-export/folders/", "bundles of one second and name could be treated as missing"),
    (".tara-export/index/", "lists would omit bundles"),
];
/// The prefix of journal entries: unfinished exports, of which a lost replica leaves no other copy.
const JOURNAL: &str = ".tara-export/journal/";
/// The minimum time that journal entries of a lost replica must be kept.
const JOURNAL_DAYS: i32 = 7;
/// The prefixes that may expire before the bundles.
const EXPENDABLE: [&str; 6] = [
    UPLOADS,
    JOURNAL,
    ".tara-export/batches/",
    ".tara-export/events/",
    ".tara-export/jobs/",
    ".tara-export/probe/",
];

/// The consequence if objects of a bundle are archived.
const ARCHIVED: &str =
    "lists show such bundles as QUARANTINED, and they must be restored before they can be read";

/// Checks for rules that remove required objects, that abort unfinished multipart uploads and that remove old
/// uploads.
pub(super) async fn check(store: &S3Store) -> Finding {
    let request = store
        .client
        .get_bucket_lifecycle_configuration()
        .bucket(&store.settings.bucket)
        .set_expected_bucket_owner(store.owner())
        .send();
    let rules = async {
        match request.await {
            Ok(response) => Ok(response.rules.unwrap_or_default()),
            Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    let archive_tiers = archive_tiers(store);
    let (rules, archive_tiers) = futures::join!(store.bounded(rules), archive_tiers);
    match rules {
        Ok(rules) => evaluate(&rules, &archive_tiers, &store.settings.base_path),
        Err(failure) => unreadable(failure, store),
    }
}

/// The ids of enabled Intelligent-Tiering configurations that archive objects below the base path. Empty if they cannot
/// be read: the service may lack that right, and other servers do not have them.
async fn archive_tiers(store: &S3Store) -> Vec<String> {
    let request = store
        .client
        .list_bucket_intelligent_tiering_configurations()
        .bucket(&store.settings.bucket)
        .set_expected_bucket_owner(store.owner())
        .send();
    let configurations = match store.bounded(request).await {
        Ok(response) => response.intelligent_tiering_configuration_list.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let archiving = configurations.into_iter().filter(|configuration| {
        let filter = configuration.filter();
        let prefix = filter
            .and_then(|filter| filter.prefix().or(filter.and().and_then(|and| and.prefix())))
            .unwrap_or_default();
        *configuration.status() == IntelligentTieringStatus::Enabled
            && !configuration.tierings().is_empty()
            && is_touched(prefix, &store.settings.base_path)
            && !is_expendable_prefix(prefix, &store.settings.base_path)
    });
    archiving.map(|configuration| configuration.id).collect()
}

fn unreadable(failure: Failure, store: &S3Store) -> Finding {
    use super::super::Store as _;

    let error = failure.into_store_error("read the lifecycle rules of", &store.location(""));
    Finding::warning(
        error.to_string(),
        format!(
            "Give the service s3:GetLifecycleConfiguration, or make sure that the bucket {}",
            required_rules(&store.settings.base_path)
        ),
    )
}

fn evaluate(rules: &[LifecycleRule], archive_tiers: &[String], base_path: &str) -> Finding {
    let uploads = format!("{base_path}{UPLOADS}");
    let enabled: Vec<&LifecycleRule> =
        rules.iter().filter(|rule| *rule.status() == ExpirationStatus::Enabled).collect();
    let mut harm = harm(&enabled, base_path);
    // Rules may move objects to Intelligent-Tiering, and uploads may choose it.
    harm.extend(archive_tiers.iter().map(|id| {
        format!(
            "the Intelligent-Tiering configuration {id:?} archives objects below {base_path} that are rarely read: \
             {ARCHIVED}"
        )
    }));
    if !harm.is_empty() {
        return Finding::warning(
            harm.join("; "),
            format!(
                "Change these rules: below {base_path} only {base_path}{UPLOADS} and {base_path}{JOURNAL} may expire \
                 separately, or everything together, and nothing may be archived."
            ),
        );
    }
    let aborts = enabled.iter().any(|rule| {
        let days = rule.abort_incomplete_multipart_upload();
        days.is_some_and(|rule| rule.days_after_initiation().is_some()) && covers(rule, base_path)
    });
    let expires = enabled.iter().any(|rule| {
        rule.expiration().is_some_and(|rule| rule.days().is_some()) && covers(rule, &uploads)
    });
    let missing = match (aborts, expires) {
        (true, true) => {
            return Finding::passed("lifecycle rules remove unfinished parts and old uploads");
        }
        (false, true) => "no lifecycle rule aborts unfinished multipart uploads",
        (true, false) => "no lifecycle rule removes old uploads",
        (false, false) => "no lifecycle rule removes unfinished parts and old uploads",
    };
    Finding::warning(
        format!("{missing}: leftovers of crashes and abandoned uploads cost money indefinitely"),
        format!("Make sure that the bucket {}", required_rules(base_path)),
    )
}

/// Descriptions of the harm that rules would do to bundles and their records. Each names its rule.
fn harm(enabled: &[&LifecycleRule], base_path: &str) -> Vec<String> {
    // Rules for the entire base path expire bundles together with their records.
    let bundle_days =
        enabled.iter().filter(|rule| covers(rule, base_path)).filter_map(|rule| days(rule)).min();
    let mut harm = Vec::new();
    for rule in enabled {
        let name = name(rule);
        if is_archive(rule) && touches(rule, base_path) && !is_expendable(rule, base_path) {
            harm.push(format!(
                "the lifecycle rule {name} moves objects below {base_path} to an archive: {ARCHIVED}"
            ));
        }
        let Some(days) = days(rule) else { continue };
        if touches(rule, &format!("{base_path}{JOURNAL}")) && days < JOURNAL_DAYS {
            harm.push(format!(
                "the lifecycle rule {name} removes accepted exports after {days} days: with JOURNAL=store those of a \
                 lost replica would be lost"
            ));
        }
        if bundle_days.is_some_and(|bundle_days| days >= bundle_days) {
            continue;
        }
        for (prefix, consequence) in REQUIRED {
            if touches(rule, &format!("{base_path}{prefix}")) {
                harm.push(format!(
                    "the lifecycle rule {name} removes {base_path}{prefix} before the bundles: {consequence}"
                ));
            }
        }
        if is_partial(rule) && touches(rule, base_path) && !is_expendable(rule, base_path) {
            harm.push(format!(
                "the lifecycle rule {name} removes objects below {base_path} by their size or tags: bundles would \
                 lose some of their files"
            ));
        }
    }
    harm
}

/// The number of days after which a rule removes objects; 0 if it has a date.
fn days(rule: &LifecycleRule) -> Option<i32> {
    let expiration = rule.expiration()?;
    expiration.days().or_else(|| expiration.date().map(|_| 0))
}

/// Whether a rule moves objects to a storage class that GET cannot read.
fn is_archive(rule: &LifecycleRule) -> bool {
    rule.transitions().iter().filter_map(|transition| transition.storage_class()).any(|class| {
        matches!(class, TransitionStorageClass::Glacier | TransitionStorageClass::DeepArchive)
    })
}

/// Whether a rule may apply to an object below a prefix.
fn touches(rule: &LifecycleRule, prefix: &str) -> bool {
    is_touched(rule_prefix(rule), prefix)
}

/// Whether a rule applies only to objects that may expire separately.
fn is_expendable(rule: &LifecycleRule, base_path: &str) -> bool {
    is_expendable_prefix(rule_prefix(rule), base_path)
}

/// Whether two prefixes have keys in common.
fn is_touched(rule_prefix: &str, prefix: &str) -> bool {
    prefix.starts_with(rule_prefix) || rule_prefix.starts_with(prefix)
}

fn is_expendable_prefix(rule_prefix: &str, base_path: &str) -> bool {
    EXPENDABLE.iter().any(|prefix| rule_prefix.starts_with(&format!("{base_path}{prefix}")))
}

/// The id of a rule, or its prefix.
fn name(rule: &LifecycleRule) -> String {
    match rule.id() {
        Some(id) => format!("{id:?}"),
        None => format!("with the prefix {:?}", rule_prefix(rule)),
    }
}

fn required_rules(base_path: &str) -> String {
    format!(
        "aborts incomplete multipart uploads below {base_path} after 7 days, and expires objects below \
         {base_path}{UPLOADS} after 30 days, or after the longest outage to expect."
    )
}

/// Whether a rule applies to everything below a prefix. A rule with tags or sizes may not.
fn covers(rule: &LifecycleRule, prefix: &str) -> bool {
    !is_partial(rule) && prefix.starts_with(rule_prefix(rule))
}

/// Whether a rule depends on more than the key.
fn is_partial(rule: &LifecycleRule) -> bool {
    rule.filter().is_some_and(|filter| {
        filter.and().is_some()
            || filter.tag().is_some()
            || filter.object_size_greater_than().is_some()
            || filter.object_size_less_than().is_some()
    })
}

fn rule_prefix(rule: &LifecycleRule) -> &str {
    let filter = rule.filter();
    let and_prefix = filter.and_then(|filter| filter.and()).and_then(|and| and.prefix());
    #[allow(deprecated, reason = "old rules still have their prefix here")]
    let old_prefix = rule.prefix();
    filter.and_then(|filter| filter.prefix()).or(and_prefix).or(old_prefix).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{
        AbortIncompleteMultipartUpload, LifecycleExpiration, LifecycleRuleFilter, Transition,
    };

    use super::*;
    use crate::ProbeStatus;

    fn rule(prefix: &str, status: ExpirationStatus, aborts: bool, expires: bool) -> LifecycleRule {
        let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(7).build();
        LifecycleRule::builder()
            .status(status)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .set_abort_incomplete_multipart_upload(aborts.then_some(abort))
            .set_expiration(expires.then(|| LifecycleExpiration::builder().days(30).build()))
            .build()
            .unwrap_or_else(|_| unreachable!("a rule requires only a status"))
    }

    #[test]
    fn check_passes_if_rules_cover_parts_and_uploads() {
        use ExpirationStatus::{Disabled, Enabled};
        let uploads = "tara/.tara-export/uploads/";
        for (rules, passes) in [
            (vec![], false),
            (vec![rule("", Enabled, true, false), rule(uploads, Enabled, false, true)], true),
            (vec![rule("tara/", Enabled, true, false), rule(uploads, Enabled, false, true)], true),
            (vec![rule("tara/", Enabled, true, true)], true),
            (vec![rule("tara/", Disabled, true, true)], false),
            (vec![rule("other/", Enabled, true, true)], false),
            // Bundle folders also contain unfinished parts.
            (vec![rule(uploads, Enabled, true, true)], false),
            (vec![rule("tara/", Enabled, true, false)], false),
        ] {
            let finding = evaluate(&rules, &[], "tara/");
            assert_eq!(finding.status == ProbeStatus::Passed, passes, "{rules:?}");
            assert_eq!(finding.hint.is_empty(), passes);
        }
    }

    /// A rule that removes objects below a prefix after a number of days.
    fn expiry(id: &str, prefix: &str, days: i32) -> LifecycleRule {
        let expiration = LifecycleExpiration::builder().days(days).build();
        LifecycleRule::builder()
            .id(id)
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .expiration(expiration)
            .build()
            .unwrap_or_else(|_| unreachable!("a rule requires only a status"))
    }

    #[test]
    fn archive_tiers_are_named() {
        let required = [rule("tara/", ExpirationStatus::Enabled, true, true)];
        assert_eq!(evaluate(&required, &[], "tara/").status, ProbeStatus::Passed);
        let finding = evaluate(&required, &["old".to_owned()], "tara/");
        assert_eq!(finding.status, ProbeStatus::Warning);
        let texts = ["\"old\"", "Intelligent-Tiering", "restored"];
        assert!(texts.iter().all(|text| finding.message.contains(text)), "{}", finding.message);
        assert!(finding.hint.contains("nothing may be archived"), "{}", finding.hint);
    }

    #[test]
    fn harmful_rules_are_named() {
        let required = [
            rule("", ExpirationStatus::Enabled, true, false),
            expiry("uploads", "tara/.tara-export/uploads/", 30),
        ];
        let sized = LifecycleRuleFilter::builder().object_size_greater_than(1).build();
        let mut large = expiry("large", "", 30);
        large.filter = Some(sized);
        let class = TransitionStorageClass::Glacier;
        let transition = Transition::builder().days(30).storage_class(class).build();
        let mut archive = expiry("archive", "tara/", 30);
        (archive.expiration, archive.transitions) = (None, Some(vec![transition]));
        for (more, harmful) in [
            (vec![expiry("own", "tara/.tara-export/", 30)], Some("own")),
            (vec![expiry("records", "tara/.tara-export/exports/", 400)], Some("records")),
            (vec![expiry("claims", "tara/.tara-export/folders/2026", 400)], Some("claims")),
            (vec![expiry("index", "tara/.tara-export/index/", 400)], Some("index")),
            (vec![expiry("journal", "tara/.tara-export/journal/", 1)], Some("journal")),
            (vec![large], Some("large")),
            (vec![archive], Some("archive")),
            // Everything expires together.
            (vec![expiry("all", "tara/", 2_500)], None),
            (vec![expiry("all", "tara/", 400), expiry("own", "tara/.tara-export/", 400)], None),
            (
                vec![expiry("all", "tara/", 400), expiry("own", "tara/.tara-export/", 30)],
                Some("own"),
            ),
            (vec![expiry("all", "tara/", 3)], Some("all")),
            (vec![expiry("journal", "tara/.tara-export/journal/", 30)], None),
            (vec![expiry("batches", "tara/.tara-export/batches/", 90)], None),
            (vec![expiry("events", "tara/.tara-export/events/", 90)], None),
            (vec![expiry("jobs", "tara/.tara-export/jobs/", 90)], None),
            (vec![expiry("other", "other/", 1)], None),
        ] {
            let rules: Vec<LifecycleRule> = required.iter().cloned().chain(more).collect();
            let finding = evaluate(&rules, &[], "tara/");
            let is_named = |name: &str| finding.message.contains(&format!("{name:?}"));
            let is_harmful = finding.status != ProbeStatus::Passed;
            assert_eq!(is_harmful, harmful.is_some(), "{}", finding.message);
            assert!(harmful.is_none_or(is_named), "{}", finding.message);
        }
    }
}
