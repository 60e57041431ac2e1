//! Converts a report to a structured message.

use tara_export_bundle::{ComprehensiveReport, InvalidReport};

use super::export::signed;
use crate::proto;

/// The message of a `comprehensive_report.json`.
pub(in crate::grpc) fn report_message(json: &[u8]) -> Result<proto::Report, InvalidReport> {
    let report = ComprehensiveReport::parse(json)?;
    let counts = |counts: Vec<(String, u64)>| {
        counts
            .into_iter()
            .map(|(name, count)| proto::NamedCount { name, count: signed(count) })
            .collect()
    };
    let sections =
        report.section_analysis.into_iter().map(|(section, analysis)| proto::SectionAnalysis {
            section,
            total_suggestions: signed(analysis.total_suggestions),
            accepted: signed(analysis.accepted),
            rejected: signed(analysis.rejected),
            user_added: signed(analysis.user_added),
            acceptance_rate: analysis.acceptance_rate,
        });
    let (metadata, statistics) = (report.export_metadata, report.summary_statistics);
    let (activity, performance) = (report.activity_summary, report.performance_metrics);
    Ok(proto::Report {
        export_metadata: Some(proto::ExportMetadata {
            timestamp: metadata.timestamp,
            session_id: metadata.session_id,
            document_name: metadata.document_name,
            guidelines_used: metadata.guidelines_used,
            guidelines_preference: metadata.guidelines_preference,
        }),
        summary_statistics: Some(proto::SummaryStatistics {
            total_ai_suggestions: signed(statistics.total_ai_suggestions),
            total_accepted: signed(statistics.total_accepted),
            total_rejected: signed(statistics.total_rejected),
            total_user_feedback: signed(statistics.total_user_feedback),
            acceptance_rate: statistics.acceptance_rate,
            user_engagement_rate: statistics.user_engagement_rate,
        }),
        risk_analysis: counts(report.risk_analysis),
        category_analysis: counts(report.category_analysis),
        section_analysis: sections.collect(),
        activity_summary: Some(proto::ActivitySummary {
            total_activities: signed(activity.total_activities),
            chat_interactions: signed(activity.chat_interactions),
            sections_analyzed: signed(activity.sections_analyzed),
        }),
        performance_metrics: Some(proto::PerformanceMetrics {
            review_duration: performance.review_duration,
            avg_time_per_section: performance.avg_time_per_section,
        }),
    })
}
