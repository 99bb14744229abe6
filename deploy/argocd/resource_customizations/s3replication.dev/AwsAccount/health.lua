-- The health of a BucketReplication or an AwsAccount, as kstatus sees it: what its conditions say of the generation
-- that is there. What the operator tries again by itself is Progressing; after ten minutes in vain it says Stalled.
if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "Pending deletion"}
end
local conditions = {}
local status = obj.status or {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local ready = conditions.Ready
if ready == nil then
  return {status = "Progressing", message = "Waiting for the operator to see this resource"}
end
-- The status as a whole says which generation it speaks of; where it does not, the condition does.
local seen = status.observedGeneration or ready.observedGeneration
if seen ~= nil and seen ~= obj.metadata.generation then
  return {status = "Progressing", message = "Waiting for the operator to see generation " .. obj.metadata.generation}
end
local health = {status = "Progressing", message = ready.message or ready.reason}
local stalled = conditions.Stalled
if stalled ~= nil and stalled.status == "True" then
  health.status = "Degraded"
elseif ready.status == "True" then
  health.status = "Healthy"
elseif ready.status == "Unknown" and ready.reason == "Suspended" then
  health.status = "Suspended"
end
return health
