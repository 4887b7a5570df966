-- Nobody but the owner sees the schema until the owner says so.
revoke all on schema pgflow from public;

-- What has no search path of its own is called by ours alone. A session keeps what a plpgsql function was compiled to, with the types
-- its caller's path had for the names in it: who may use the schema and call start_flow_with_states is not to compile these first.
do $$
declare
  inner_function pg_catalog.regprocedure;
begin
  for inner_function in
    select p.oid from pg_catalog.pg_proc p
    where p.pronamespace = 'pgflow'::pg_catalog.regnamespace
      and p.prolang = (select l.oid from pg_catalog.pg_language l where l.lanname = 'plpgsql')
      and not exists (select from unnest(p.proconfig) setting where setting like 'search_path=%')
      and (p.proacl is null or exists (select from pg_catalog.aclexplode(p.proacl) a where a.grantee = 0))
  loop
    execute format('revoke execute on function %s from public', inner_function);
  end loop;
end
$$;
