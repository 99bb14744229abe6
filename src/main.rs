fn main() {
    println!("{}", serde_saphyr::to_string(&s3_replication_operator::api::crd::bucket_replication().unwrap()).unwrap());
}
