//! The log files: activity, chat and audit logs of the review application.

use serde::Serialize;

use super::{AcceptedTime, ArtifactPath, JsonObject, Review, format::to_json_pretty};

#[derive(Serialize)]
struct ActivityLog<'a> {
    export_info: ActivityInfo<'a>,
    activity_log: &'a [JsonObject],
}

#[derive(Serialize)]
struct ActivityInfo<'a> {
    timestamp: AcceptedTime,
    document_name: &'a str,
    session_id: &'a str,
    total_activities: usize,
}

#[derive(Serialize)]
struct ChatHistory<'a> {
    export_info: ChatInfo,
    chat_history: &'a [JsonObject],
}

#[derive(Serialize)]
struct ChatInfo {
    timestamp: AcceptedTime,
    total_messages: usize,
}

#[derive(Serialize)]
struct AuditLogs<'a> {
    export_info: AuditInfo<'a>,
    audit_logs: &'a [JsonObject],
    performance_metrics: &'a JsonObject,
    activity_timeline: &'a [JsonObject],
}

#[derive(Serialize)]
struct AuditInfo<'a> {
    timestamp: AcceptedTime,
    session_id: &'a str,
}

/// Renders the three log files.
pub(super) fn render(review: &Review, timestamp: AcceptedTime) -> [(ArtifactPath, Vec<u8>); 3] {
    let activity_log = ActivityLog {
        export_info: ActivityInfo {
            timestamp,
            document_name: &review.document_name,
            session_id: &review.session_id,
            total_activities: review.activity_log.len(),
        },
        activity_log: &review.activity_log,
    };
    let chat_history = ChatHistory {
        export_info: ChatInfo { timestamp, total_messages: review.chat_history.len() },
        chat_history: &review.chat_history,
    };
    let audit_logs = AuditLogs {
        export_info: AuditInfo { timestamp, session_id: &review.session_id },
        audit_logs: &review.audit_logs,
        performance_metrics: &review.performance_metrics,
        activity_timeline: &review.activity_timeline,
    };
    [
        (ArtifactPath::activity_log(), to_json_pretty(&activity_log)),
        (ArtifactPath::audit_logs(), to_json_pretty(&audit_logs)),
        (ArtifactPath::chat_history(), to_json_pretty(&chat_history)),
    ]
}
