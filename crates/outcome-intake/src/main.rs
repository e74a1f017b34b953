//! The function `outcome-intake`. All of it is in the library.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    outcome_intake::run().await
}
