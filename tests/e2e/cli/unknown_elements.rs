//! Elements that S3 holds and this version does not know.

use anyhow::{Result, ensure};
use rig::proxy::{Answer, Fault, Matcher};

use crate::support::{Scene, person};

use super::stderr;

#[tokio::test]
async fn import_refuses_a_configuration_with_an_element_that_it_would_lose() -> Result<()> {
    let scene = Scene::named("import-unknown").ready().await?;
    let account = &scene.world.account;
    let body = format!(
        "<?xml version=\"1.0\"?><ReplicationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Role>arn:aws:iam::{account}:role/r</Role><Rule><ID>all</ID><Priority>1</Priority><Filter><Prefix/></Filter>\
         <Status>Enabled</Status><Destination><Bucket>arn:aws:s3:::{}</Bucket><Tier>Fast</Tier></Destination>\
         <DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication></Rule>\
         </ReplicationConfiguration>",
        scene.destination
    );
    let answer = Answer::Custom { status: 200, headers: Vec::new(), body };
    let matching = Matcher::operation("GetBucketReplication").about(&scene.source);
    let fault = scene.world.proxy.inject(Fault::always(matching, answer));
    let args = ["import", "--bucket", &scene.source];
    let output = person(&scene.world).run(args, "").await?;
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    ensure!(text.contains(&scene.source) && text.contains("Rule[all]/Destination/Tier"), "{text}");
    scene.world.proxy.remove(fault);
    let output = person(&scene.world).run(args, "").await?;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    Ok(())
}
