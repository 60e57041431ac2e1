//! Whether the bucket removes by itself what nobody needs any more.
//!
//! The service may not delete (its policy need not allow it), and a crash can leave parts that no note tells
//! of: both go by rules of the bucket (Amazon S3 User Guide, "Managing the lifecycle of objects").

use aws_sdk_s3::{
    error::ProvideErrorMetadata as _,
    types::{ExpirationStatus, LifecycleRule},
};

use super::{super::probe::Finding, S3Store, failure::Failure};

/// What uploads lie below, within the base path.
const UPLOADS: &str = ".tara-export/uploads/";

/// Looks for a rule that aborts unfinished uploads in parts, and one that removes old uploads.
pub(super) async fn check(store: &S3Store) -> Finding {
    let request = store
        .client
        .get_bucket_lifecycle_configuration()
        .bucket(&store.settings.bucket)
        .set_expected_bucket_owner(store.owner())
        .send();
    let rules = async {
        match request.await {
            Ok(answer) => Ok(answer.rules.unwrap_or_default()),
            Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    match store.bounded(rules).await {
        Ok(rules) => judge(&rules, &store.settings.base_path),
        Err(failure) => unknown(failure, store),
    }
}

fn unknown(failure: Failure, store: &S3Store) -> Finding {
    use super::super::Store as _;

    let error = failure.into_store_error("read the lifecycle rules of", &store.location(""));
    Finding::warning(
        error.to_string(),
        format!(
            "Give the service s3:GetLifecycleConfiguration, or see to it that the bucket {}",
            wanted(&store.settings.base_path)
        ),
    )
}

fn judge(rules: &[LifecycleRule], base_path: &str) -> Finding {
    let uploads = format!("{base_path}{UPLOADS}");
    let enabled: Vec<&LifecycleRule> =
        rules.iter().filter(|rule| *rule.status() == ExpirationStatus::Enabled).collect();
    let aborts = enabled.iter().any(|rule| {
        let days = rule.abort_incomplete_multipart_upload();
        days.is_some_and(|rule| rule.days_after_initiation().is_some()) && covers(rule, base_path)
    });
    let expires = enabled.iter().any(|rule| {
        rule.expiration().is_some_and(|rule| rule.days().is_some()) && covers(rule, &uploads)
    });
    let missing = match (aborts, expires) {
        (true, true) => {
            return Finding::passed(
                "the bucket removes unfinished parts and old uploads by itself",
            );
        }
        (false, true) => "no lifecycle rule aborts unfinished uploads in parts",
        (true, false) => "no lifecycle rule removes old uploads",
        (false, false) => "no lifecycle rule removes unfinished parts and old uploads",
    };
    Finding::warning(
        format!("{missing}: what crashes and abandoned uploads leave costs money for ever"),
        format!("See to it that the bucket {}", wanted(base_path)),
    )
}

fn wanted(base_path: &str) -> String {
    format!(
        "aborts incomplete multipart uploads below {base_path} after 7 days, and expires objects below \
         {base_path}{UPLOADS} after 30 days, or however long the longest outage may be."
    )
}

/// Whether a rule holds for everything below a prefix. One with tags or sizes may not.
fn covers(rule: &LifecycleRule, prefix: &str) -> bool {
    let filter = rule.filter();
    let is_partial = filter.is_some_and(|filter| {
        filter.and().is_some()
            || filter.tag().is_some()
            || filter.object_size_greater_than().is_some()
            || filter.object_size_less_than().is_some()
    });
    #[allow(deprecated, reason = "old rules still have their prefix here")]
    let of_rule = rule.prefix();
    let rule_prefix = filter.and_then(|filter| filter.prefix()).or(of_rule).unwrap_or_default();
    !is_partial && prefix.starts_with(rule_prefix)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{
        AbortIncompleteMultipartUpload, LifecycleExpiration, LifecycleRuleFilter,
    };

    use super::*;
    use crate::store::ProbeStatus;

    fn rule(prefix: &str, status: ExpirationStatus, aborts: bool, expires: bool) -> LifecycleRule {
        let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(7).build();
        LifecycleRule::builder()
            .status(status)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .set_abort_incomplete_multipart_upload(aborts.then_some(abort))
            .set_expiration(expires.then(|| LifecycleExpiration::builder().days(30).build()))
            .build()
            .unwrap_or_else(|_| unreachable!("a status is all that a rule needs"))
    }

    #[test]
    fn rules_count_where_they_cover_what_is_left_behind() {
        use ExpirationStatus::{Disabled, Enabled};
        let uploads = "tara/.tara-export/uploads/";
        for (rules, passes) in [
            (vec![], false),
            (vec![rule("", Enabled, true, false), rule(uploads, Enabled, false, true)], true),
            (vec![rule("tara/", Enabled, true, false), rule(uploads, Enabled, false, true)], true),
            (vec![rule("tara/", Enabled, true, true)], true),
            (vec![rule("tara/", Disabled, true, true)], false),
            (vec![rule("other/", Enabled, true, true)], false),
            // Unfinished parts lie in bundles' folders too.
            (vec![rule(uploads, Enabled, true, true)], false),
            (vec![rule("tara/", Enabled, true, false)], false),
        ] {
            let finding = judge(&rules, "tara/");
            assert_eq!(finding.status == ProbeStatus::Passed, passes, "{rules:?}");
            assert_eq!(finding.hint.is_empty(), passes);
        }
    }
}
