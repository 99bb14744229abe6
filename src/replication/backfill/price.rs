//! The price of a job, as AWS's price list has it for most Regions (<https://aws.amazon.com/s3/pricing/>, under
//! "Management").
//!
//! In: the number of objects, if it is known. Out: the price in US dollars, and a part of a sentence that says it.

/// In US dollars.
pub const A_JOB: f64 = 0.25;
pub const A_MILLION_OBJECTS: f64 = 1.00;
pub const A_MILLION_LISTED: f64 = 0.015;

/// The price of replicating so many objects, as part of a sentence.
pub fn describe(objects: Option<i64>) -> String {
    let rest = format!(
        "and ${A_MILLION_LISTED} for each million objects in the bucket, besides requests and transfer of the replicas"
    );
    match objects {
        Some(objects) => format!("about ${:.2} {rest}", price(objects)),
        None => {
            format!(
                "${A_JOB:.2} for the job, ${A_MILLION_OBJECTS:.2} for each million objects replicated {rest}"
            )
        }
    }
}

/// The price of a job that replicates so many objects, without the listing.
pub fn price(objects: i64) -> f64 {
    // Exact up to 2^53 objects, far beyond the 20 billion of a job.
    A_JOB + A_MILLION_OBJECTS * (objects.max(0) as f64) / 1e6
}
