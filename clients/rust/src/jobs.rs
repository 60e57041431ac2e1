//! Scheduled jobs.

use super::{Client, ClientError, connect::AutomationClient};
use crate::proto::{
    JobRun, ListJobsRequest, ListJobsResponse, RunJobRequest, RunJobResponse, job_run::State,
};

impl Client {
    /// Lists the server's jobs and their last runs.
    ///
    /// # Errors
    /// The server's rejection.
    pub async fn list_jobs(&self) -> Result<ListJobsResponse, ClientError> {
        let call = |mut service: AutomationClient, request| async move {
            service.list_jobs(request).await
        };
        self.call(ListJobsRequest {}, call).await
    }

    /// Runs a job, and waits for the end of its run. A run that failed is not an error. If the server becomes
    /// unavailable in between, the job can run twice, one run after the other.
    ///
    /// # Errors
    /// The server's rejection, such as FAILED_PRECONDITION, JOB_RUNNING if another replica runs the job.
    pub async fn run_job(&self, job: impl Into<String>) -> Result<JobRun, ClientError> {
        let mut request = RunJobRequest { job: job.into(), number: 0 };
        loop {
            let call = |mut service: AutomationClient, request| async move {
                service.run_job(request).await
            };
            let response: RunJobResponse = self.call(request.clone(), call).await?;
            let run = response.run.unwrap_or_default();
            if run.state() != State::Running || run.number == 0 {
                return Ok(run);
            }
            request.number = run.number;
        }
    }
}
