-- The health of a BucketReplication or an AwsAccount: its condition Ready, if it describes the current generation.
-- Whether objects arrive (Replicating) is in the message alone: a sync does not fail because an object did.
-- Ready False is Degraded even while the operator retries, because until then AWS is not as requested.
local function find(status, type)
  for _, condition in ipairs(status.conditions or {}) do
    if condition.type == type then
      return condition
    end
  end
end

local status = obj.status or {}
local condition = find(status, "Ready")
if condition == nil then
  return {status = "Progressing", message = "Waiting for the operator to see this resource"}
end
-- The generation is in the status as a whole, else in the condition.
local seen = status.observedGeneration or condition.observedGeneration
if seen ~= nil and seen ~= obj.metadata.generation then
  return {status = "Progressing", message = "Waiting for the operator to see generation " .. obj.metadata.generation}
end
local health = {status = "Progressing", message = condition.message or condition.reason}
if condition.status == "True" then
  health.status = "Healthy"
elseif condition.status == "False" then
  health.status = "Degraded"
elseif condition.reason == "Suspended" then
  health.status = "Suspended"
end
local replicating = find(status, "Replicating")
if health.status == "Healthy" and replicating ~= nil and replicating.status == "False" then
  health.message = health.message .. "; " .. (replicating.message or replicating.reason)
end
return health
