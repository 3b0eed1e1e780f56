//! The process that measures one thing.

use anyhow::{Context, Result, bail};

use super::delivery::{bare, cost, drain, endpoint, flow, pass};
use super::job::Job;
use super::store::{churn, fill, ingest, open, settle};

/// Does this process's job and prints the result.
pub(crate) async fn run(job: &str, input: &str) -> Result<()> {
    match job {
        ingest::Ingest::NAME => work::<ingest::Ingest>(input).await,
        fill::Fill::NAME => work::<fill::Fill>(input).await,
        settle::Settle::NAME => work::<settle::Settle>(input).await,
        open::Open::NAME => work::<open::Open>(input).await,
        churn::Churn::NAME => work::<churn::Churn>(input).await,
        endpoint::Serve::NAME => work::<endpoint::Serve>(input).await,
        bare::Bare::NAME => work::<bare::Bare>(input).await,
        drain::Drain::NAME => work::<drain::Drain>(input).await,
        pass::Pass::NAME => work::<pass::Pass>(input).await,
        cost::Cost::NAME => work::<cost::Cost>(input).await,
        flow::Flow::NAME => work::<flow::Flow>(input).await,
        other => bail!("no such job: {other}"),
    }
}

async fn work<J: Job>(input: &str) -> Result<()> {
    let job: J = serde_json::from_str(input)
        .with_context(|| format!("cannot parse the input of {}", J::NAME))?;
    println!("{}", serde_json::to_string(&job.run().await?)?);
    Ok(())
}
