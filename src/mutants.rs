//! Plausible faults, switched on one at a time: the exploration has to find each of them.
//!
//! In: the fault that a test or the exploration switches on. Out: whether the code at one point acts by it. Only tests
//! and the exploration can switch one on; in every other build a switch is `false` when it is compiled. A new fault
//! begins here, as a variant of [`Mutant`].

/// A fault that a change of the code could bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    NoLiveGet,
    NoFinalizer,
    FinalizerReplaced,
    FinalizerGoesFirst,
    ExactPolicyFirst,
    ConfigurationFirst,
    RoleGoesFirst,
    NoBucketLock,
    PolicyOverwritten,
    StatementsDuplicated,
    StatusForgetsRoles,
    StatusComesLast,
    ConfigurationNotAnnounced,
    PartNotAnnounced,
    DeletionByStatus,
    AnotherClustersRole,
    WriteInObserve,
    WriteBeforeRefusal,
    LeaseIgnored,
    TighteningIgnored,
    AccountsForgotten,
    SuspendIgnored,
    ForeignConfigurationReplaced,
    IntentNotKept,
    JobNotSearched,
    TokenByChance,
    ApprovalNotAuthorized,
    CanaryPlaceForgotten,
    CanaryNotAwaited,
    CanaryNotSwept,
    CanaryLeftByDeletion,
    NoLiveGetForCanary,
    NoLiveGetOfAccounts,
    SourceNotClaimedAgain,
    EndOverwritten,
    AdoptedRoleDeleted,
    NotCheckedAgain,
    RefusalForgets,
    RequestHandledUnread,
    CanaryForbiddenStays,
    OldAnswersBelieved,
    FormerProcessIgnored,
    ChangeIgnored,
    SpecChangeIgnored,
    VersioningNotRepaired,
    AllowanceNotNoticed,
    HandoverNotNoticed,
    FinalizerNotRestored,
    LostCanaryNotSearched,
    CanaryDoubled,
    CanaryWithoutFinalizer,
    NeighboursDeleted,
    FailedCanaryNotListed,
    FormerDestinationUnreached,
    DestinationNotAsked,
    GoneAccountBelieved,
    NoLiveGetOfDestinations,
    DestinationLabelsIgnored,
    StandInNotAsked,
    SuccessorNotNoticed,
    TurnIgnored,
    CancelledJobStarted,
    OtherSourceApproved,
    ForeignJobRoleDeleted,
    LostAnswerForgotten,
    HolderNotAsked,
    EqualRulesOwned,
    FoundDeleted,
    BoundaryNotImposed,
    BoundaryComesLast,
    TagsKept,
    PolicyRewritten,
    FormerPoliciesBelieved,
    LoneStatementLost,
    OwnershipOfEveryRule,
    LastKeyGranted,
    NamesInPlaceOfLabels,
    AddedRuleIgnored,
    RetentionAbroadIgnored,
    FailedStatementsForgotten,
    LiveGenerationIgnored,
    UnseenStatusOverwritten,
    FormerStatementsBelieved,
    UnansweredPolicyForgotten,
    GivenRoleUnbounded,
    JobRoleUnbounded,
    GenerationAhead,
    LostStatusForgotten,
    DisabledKeyIgnored,
}

impl Mutant {
    pub const ALL: [Mutant; 89] = [
        Mutant::NoLiveGet,
        Mutant::NoFinalizer,
        Mutant::FinalizerReplaced,
        Mutant::FinalizerGoesFirst,
        Mutant::ExactPolicyFirst,
        Mutant::ConfigurationFirst,
        Mutant::RoleGoesFirst,
        Mutant::NoBucketLock,
        Mutant::PolicyOverwritten,
        Mutant::StatementsDuplicated,
        Mutant::StatusForgetsRoles,
        Mutant::StatusComesLast,
        Mutant::ConfigurationNotAnnounced,
        Mutant::PartNotAnnounced,
        Mutant::DeletionByStatus,
        Mutant::AnotherClustersRole,
        Mutant::WriteInObserve,
        Mutant::WriteBeforeRefusal,
        Mutant::LeaseIgnored,
        Mutant::TighteningIgnored,
        Mutant::AccountsForgotten,
        Mutant::SuspendIgnored,
        Mutant::ForeignConfigurationReplaced,
        Mutant::CanaryPlaceForgotten,
        Mutant::CanaryNotAwaited,
        Mutant::CanaryNotSwept,
        Mutant::CanaryLeftByDeletion,
        Mutant::NoLiveGetForCanary,
        Mutant::NoLiveGetOfAccounts,
        Mutant::SourceNotClaimedAgain,
        Mutant::EndOverwritten,
        Mutant::AdoptedRoleDeleted,
        Mutant::NotCheckedAgain,
        Mutant::RefusalForgets,
        Mutant::RequestHandledUnread,
        Mutant::CanaryForbiddenStays,
        Mutant::OldAnswersBelieved,
        Mutant::FormerProcessIgnored,
        Mutant::ChangeIgnored,
        Mutant::SpecChangeIgnored,
        Mutant::VersioningNotRepaired,
        Mutant::AllowanceNotNoticed,
        Mutant::HandoverNotNoticed,
        Mutant::FinalizerNotRestored,
        Mutant::IntentNotKept,
        Mutant::JobNotSearched,
        Mutant::TokenByChance,
        Mutant::ApprovalNotAuthorized,
        Mutant::LostCanaryNotSearched,
        Mutant::CanaryDoubled,
        Mutant::CanaryWithoutFinalizer,
        Mutant::NeighboursDeleted,
        Mutant::FailedCanaryNotListed,
        Mutant::FormerDestinationUnreached,
        Mutant::DestinationNotAsked,
        Mutant::GoneAccountBelieved,
        Mutant::NoLiveGetOfDestinations,
        Mutant::DestinationLabelsIgnored,
        Mutant::StandInNotAsked,
        Mutant::SuccessorNotNoticed,
        Mutant::TurnIgnored,
        Mutant::CancelledJobStarted,
        Mutant::OtherSourceApproved,
        Mutant::ForeignJobRoleDeleted,
        Mutant::LostAnswerForgotten,
        Mutant::HolderNotAsked,
        Mutant::EqualRulesOwned,
        Mutant::FoundDeleted,
        Mutant::BoundaryNotImposed,
        Mutant::BoundaryComesLast,
        Mutant::TagsKept,
        Mutant::PolicyRewritten,
        Mutant::FormerPoliciesBelieved,
        Mutant::LoneStatementLost,
        Mutant::OwnershipOfEveryRule,
        Mutant::LastKeyGranted,
        Mutant::NamesInPlaceOfLabels,
        Mutant::AddedRuleIgnored,
        Mutant::RetentionAbroadIgnored,
        Mutant::FailedStatementsForgotten,
        Mutant::LiveGenerationIgnored,
        Mutant::UnseenStatusOverwritten,
        Mutant::FormerStatementsBelieved,
        Mutant::UnansweredPolicyForgotten,
        Mutant::GivenRoleUnbounded,
        Mutant::JobRoleUnbounded,
        Mutant::GenerationAhead,
        Mutant::LostStatusForgotten,
        Mutant::DisabledKeyIgnored,
    ];

    /// The fault, in one sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Mutant::NoLiveGet => "A check writes without asking the API server for the live object.",
            Mutant::NoFinalizer => "A check writes without adding the finalizer.",
            Mutant::FinalizerReplaced => "Adding the finalizer drops those of others.",
            Mutant::FinalizerGoesFirst => "The finalizer goes although something is left in AWS.",
            Mutant::ExactPolicyFirst => {
                "The role gets exactly the new permissions before the configuration is replaced."
            }
            Mutant::ConfigurationFirst => "The configuration is put before the permissions that it needs.",
            Mutant::RoleGoesFirst => "Deletion removes the role before the configuration.",
            Mutant::NoBucketLock => "Two resources write the policy of one bucket at once.",
            Mutant::PolicyOverwritten => {
                "The policy of a destination is written without what others have in it."
            }
            Mutant::StatementsDuplicated => "A write that is tried again adds the statements once more.",
            Mutant::StatusForgetsRoles => "The status forgets roles from before a rename.",
            Mutant::StatusComesLast => "Roles and statements are made before the status names them.",
            Mutant::ConfigurationNotAnnounced => {
                "A configuration is put that the status did not announce before."
            }
            Mutant::PartNotAnnounced => {
                "A part of a configuration is put while the status announces the whole of it."
            }
            Mutant::DeletionByStatus => {
                "Deletion removes the roles that the status names, whatever their tags say."
            }
            Mutant::AnotherClustersRole => {
                "A role with the name of the resource counts as its own, whatever its cluster."
            }
            Mutant::WriteInObserve => "managementPolicy: Observe writes.",
            Mutant::WriteBeforeRefusal => "The first stage is written although the plan is refused.",
            Mutant::LeaseIgnored => "A stage begins without the lease.",
            Mutant::TighteningIgnored => "Stages go on after an administrator took the permission away.",
            Mutant::AccountsForgotten => "After its AwsAccount is deleted, a resource acts without one.",
            Mutant::SuspendIgnored => "suspend: true is ignored.",
            Mutant::ForeignConfigurationReplaced => {
                "Someone's configuration is replaced without adoptionPolicy: Adopt."
            }
            Mutant::IntentNotKept => "The token of a job is not in the status before the job is asked for.",
            Mutant::JobNotSearched => "A job whose id was lost is not searched for.",
            Mutant::TokenByChance => "Each request for a job has another token.",
            Mutant::ApprovalNotAuthorized => {
                "A job that the user approves is started without asking again whether it may run."
            }
            Mutant::CanaryPlaceForgotten => "A canary is written before the status names its place.",
            Mutant::CanaryNotAwaited => "A canary is deleted before its replication status is final.",
            Mutant::CanaryNotSwept => "An operator that starts does not search for canaries that are left.",
            Mutant::CanaryLeftByDeletion => "Deletion leaves the canaries.",
            Mutant::NoLiveGetForCanary => {
                "A canary is deleted without asking the API server for the live object."
            }
            Mutant::NoLiveGetOfAccounts => {
                "A check writes without asking the API server for the live AwsAccounts."
            }
            Mutant::SourceNotClaimedAgain => {
                "Stages go on after another resource became the owner of the source."
            }
            Mutant::EndOverwritten => {
                "The status of a backfill is written over one that is not the one that was read."
            }
            Mutant::AdoptedRoleDeleted => {
                "A role that was taken over is deleted although adoptionPolicy is no longer Adopt."
            }
            Mutant::NotCheckedAgain => {
                "A resource that found something foreign is checked again only when it is changed."
            }
            Mutant::RefusalForgets => "The status of a refused resource forgets what was made.",
            Mutant::RequestHandledUnread => {
                "A request to check counts as handled while the resource is suspended."
            }
            Mutant::CanaryForbiddenStays => {
                "Canaries on their way are left once the AwsAccount allows none any more."
            }
            Mutant::OldAnswersBelieved => {
                "An answer of AWS from before the operator's last write is believed."
            }
            Mutant::FormerProcessIgnored => {
                "A process believes each answer of AWS, although another one may have written a moment before it."
            }
            Mutant::ChangeIgnored => {
                "Writes go on although the watch has brought a change or the deletion of the object."
            }
            Mutant::SpecChangeIgnored => {
                "A spec that changes after it was applied counts as applied, and nothing is written for it."
            }
            Mutant::VersioningNotRepaired => {
                "A bucket counts as versioned while its versioning is suspended."
            }
            Mutant::AllowanceNotNoticed => {
                "A change of an AwsAccount causes no check of the resources that refer to it."
            }
            Mutant::HandoverNotNoticed => {
                "Nobody checks the resource that may own a source once its owner is gone."
            }
            Mutant::FinalizerNotRestored => "A finalizer that a user strips is not added again.",
            Mutant::LostCanaryNotSearched => "A canary whose write had no answer is not searched for.",
            Mutant::CanaryDoubled => "A canary is written although one of the same rule is on its way.",
            Mutant::CanaryWithoutFinalizer => {
                "A canary is written although the object has lost the finalizer."
            }
            Mutant::NeighboursDeleted => "Every object in a folder of canaries counts as a canary.",
            Mutant::FailedCanaryNotListed => "The replicas of a canary that failed are not searched for.",
            Mutant::FormerDestinationUnreached => {
                "The operator does not connect to the account of a former destination of canaries."
            }
            Mutant::DestinationNotAsked => "Canaries go into a destination whose AwsAccount allows none.",
            Mutant::GoneAccountBelieved => {
                "An AwsAccount that the API server no longer has counts as unchanged."
            }
            Mutant::NoLiveGetOfDestinations => {
                "A check writes without asking the API server for the live AwsAccounts of the destinations."
            }
            Mutant::DestinationLabelsIgnored => {
                "The labels that the AwsAccount of a destination asks for do not count."
            }
            Mutant::StandInNotAsked => "Any AwsAccount of the same account stands in for one that is gone.",
            Mutant::SuccessorNotNoticed => {
                "Nobody checks the resource that may own a source once the AwsAccount of its owner is tightened."
            }
            Mutant::TurnIgnored => "A backfill does not wait for an older one that has not begun.",
            Mutant::CancelledJobStarted => "A job that the user approved and then cancelled is started.",
            Mutant::OtherSourceApproved => {
                "An approved job is started although its replication has another source by now."
            }
            Mutant::ForeignJobRoleDeleted => {
                "The role of a job is deleted by its name, whatever its tags say."
            }
            Mutant::LostAnswerForgotten => "A write that AWS did not answer counts as one that was not made.",
            Mutant::HolderNotAsked => {
                "Of two resources of the same second, the one that has applied its spec does not keep the source."
            }
            Mutant::EqualRulesOwned => {
                "A configuration with the rules of the spec counts as equal, whatever its role."
            }
            Mutant::FoundDeleted => "Deletion removes a configuration that was there before the resource.",
            Mutant::BoundaryNotImposed => {
                "The permissions boundary that an AwsAccount imposes is not put on roles."
            }
            Mutant::BoundaryComesLast => "A role gets its permissions boundary after its permissions.",
            Mutant::TagsKept => "A tag that the spec no longer asks for stays on the role.",
            Mutant::PolicyRewritten => {
                "A bucket policy is written with the statements of others, and without its Id and its version."
            }
            Mutant::FormerPoliciesBelieved => {
                "A policy that another process may have changed a moment ago is believed beside newer rules."
            }
            Mutant::LoneStatementLost => {
                "A bucket policy whose one statement is not in a list loses it when it is written."
            }
            Mutant::OwnershipOfEveryRule => {
                "Replicas may change their owner only where each rule into that bucket asks for it."
            }
            Mutant::LastKeyGranted => {
                "Of the keys that rules into one bucket name, the role gets the last one only."
            }
            Mutant::NamesInPlaceOfLabels => {
                "An AwsAccount that names a namespace does not ask for the labels of it."
            }
            Mutant::AddedRuleIgnored => "A rule that someone adds in AWS counts as no drift.",
            Mutant::RetentionAbroadIgnored => {
                "A canary goes into a destination from which no version can be deleted."
            }
            Mutant::FailedStatementsForgotten => {
                "The status forgets a bucket whose policy was written without an answer."
            }
            Mutant::LiveGenerationIgnored => {
                "A check writes although the live object has another generation than the one that was checked."
            }
            Mutant::UnseenStatusOverwritten => {
                "A new leader writes over a status that its cache does not show yet."
            }
            Mutant::FormerStatementsBelieved => {
                "A bucket policy that a former process may have written a moment ago is believed as S3 shows it."
            }
            Mutant::UnansweredPolicyForgotten => {
                "A write of a bucket policy that S3 did not answer counts as one that was not made."
            }
            Mutant::GivenRoleUnbounded => {
                "A role that the spec names serves without the permissions boundary that its AwsAccount imposes."
            }
            Mutant::JobRoleUnbounded => {
                "The permissions boundary that an AwsAccount imposes is not put on the roles of jobs."
            }
            Mutant::GenerationAhead => {
                "A status names the generation of a spec that changed after the check began."
            }
            Mutant::LostStatusForgotten => {
                "A status that was written without an answer counts as one that was not written."
            }
            Mutant::DisabledKeyIgnored => "A key that is disabled counts as one that encrypts replicas.",
        }
    }
}

#[cfg(any(test, feature = "simulation"))]
thread_local! {
    static ON: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
    static MET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether a mutant is switched on in this thread.
#[cfg(any(test, feature = "simulation"))]
pub fn is_on(mutant: Mutant) -> bool {
    let is_on = ON.get() == Some(mutant);
    if is_on {
        MET.set(true);
    }
    is_on
}

/// Whether anything has asked for the mutant that is switched on in this thread, since this was last called. If nothing
/// has, everything went as without it.
#[cfg(any(test, feature = "simulation"))]
pub fn take_met() -> bool {
    MET.take()
}

/// Acts with a mutant switched on in this thread.
#[cfg(any(test, feature = "simulation"))]
pub fn with<T>(mutant: Mutant, act: impl FnOnce() -> T) -> T {
    ON.set(Some(mutant));
    let result = act();
    ON.set(None);
    result
}

/// No mutant is ever on.
#[cfg(not(any(test, feature = "simulation")))]
pub const fn is_on(_: Mutant) -> bool {
    false
}
