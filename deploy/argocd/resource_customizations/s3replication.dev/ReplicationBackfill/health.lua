-- The health of a ReplicationBackfill: its condition Ready, if it describes the current generation. It is Progressing while
-- its job runs, and Suspended while the job waits for someone to approve it.
local function ready(status)
  for _, condition in ipairs(status.conditions or {}) do
    if condition.type == "Ready" then
      return condition
    end
  end
end

local status = obj.status or {}
local condition = ready(status)
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
elseif condition.reason == "AwaitingApproval" then
  health.status = "Suspended"
end
return health
