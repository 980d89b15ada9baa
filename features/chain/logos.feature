Feature: Logos nodes, by their program and templates or as somebody else runs them

  How a real node is run is said in a file: its program, its arguments, and templates of its files.
  "logos-rehearsal" is the application of real nodes, with devchain in their place: it is run by
  such a file and asked over the same HTTP. Nodes of others need no program and no file.

  Rule: A program and templates make a cluster

    Background:
      Given the application is "logos-rehearsal"

    @smoke
    Scenario: Three nodes keep one chain
      Given a cluster of 3 nodes
      Then all nodes have at least 5 blocks and converged to within 2 blocks in 40 seconds
      And node "NODE_1" has at least 2 peers within 10 seconds
      And I query cryptarchia info for all nodes

    Scenario: What templates use can be wished for
      Given the cluster uses cryptarchia security parameter 5
      And the chain starts 6 seconds from now
      And I have deployment config override "block_time_ms" as "200"
      And a cluster of 2 nodes
      Then the configured genesis time has not passed for 2 seconds
      And node "NODE_1" is exactly at height 0
      And all nodes agree on LIB in 60 seconds

    Scenario: Stopped and killed nodes go on with what the others made
      Given a cluster of 3 nodes
      And node "NODE_1" is at height 3 in 30 seconds
      When I stop NODE_2
      And I kill NODE_3
      And I record node "NODE_1" height as "away"
      And node "NODE_1" reaches 3 blocks beyond recorded height "away" in 30 seconds
      And I start NODE_2
      And I start NODE_3
      Then all nodes have at least 6 blocks and converged to within 2 blocks in 40 seconds

    Scenario: A late joiner downloads the chain from those that are there
      Given I have a cluster with capacity of 3 nodes
      And all peers must be mode online after startup in 20 seconds
      When I start node "NODE_1"
      And I start node "NODE_2"
      And node "NODE_1" is at height 8 in 40 seconds
      And I start node "NODE_3"
      Then all nodes converged to within 2 blocks in 30 seconds

    Scenario: A node is configured otherwise than its template says
      Given node "NODE_2" has user config override "leads" as "false"
      And a cluster of 2 nodes
      Then all nodes have at least 3 blocks and converged to within 2 blocks in 40 seconds

    Scenario: What nobody can give them is refused in words
      When I run the harness on this feature:
        """
        Feature: A wish
          Scenario: Wallets
            Given the application is "logos-rehearsal"
            And the genesis block has the following wallet resources:
              | account_index | token_count | token_amount |
              | 1             | 20          | 100          |
            And a cluster of 1 node
        """
      Then the exit code is 1
      And it prints "what they own is in the genesis block that their templates make"

  Rule: Nodes that run already need no program

    Background:
      Given the application is "logos-rehearsal"
      And 3 nodes that somebody else runs

    @smoke
    Scenario: They are asked for what they have
      When I run the harness on this feature:
        """
        Feature: Theirs
          Scenario: External nodes
            Given the application is "logos"
            And external nodes:
              | node  | url               |
              | LAB_1 | env(THEIRS_1_URL) |
              | LAB_2 | env(THEIRS_2_URL) |
              | LAB_3 | env(THEIRS_3_URL) |
            When the nodes are ready
            Then LAB_1 is borrowed
            And all nodes have at least 3 blocks and converged to within 2 blocks in 40 seconds
            And node "LAB_2" has at least 2 peers within 10 seconds
            And I query cryptarchia info for all nodes
            When I record node "LAB_1" height as "now"
            Then node "LAB_1" reaches 3 blocks beyond recorded height "now" in 30 seconds
        """
      Then the exit code is 0
      And the nodes that somebody else runs never noticed
      And nothing of that run is left

    Scenario: A listing names them
      Given the harness finds the file "lab.yaml":
        """
        nodes:
        - { name: LAB_1, url: "env(THEIRS_1_URL)" }
        - { name: LAB_2, url: "env(THEIRS_2_URL)" }
        """
      And the harness finds the file "trellis.toml":
        """
        [clusters.lab]
        provider = "static"
        cluster = "lab.yaml"
        """
      When I run the harness on this feature:
        """
        Feature: Theirs
          Scenario: Attached
            Given the application is "logos"
            And the attached cluster "lab"
            When the nodes are ready
            Then all nodes have at least 3 blocks and converged to within 2 blocks in 40 seconds
        """
      Then the exit code is 0
      And the nodes that somebody else runs never noticed

    Scenario: They are compared with the chain of public peers
      When I run the harness on this feature:
        """
        Feature: Theirs
          Scenario: Synced
            Given the application is "logos"
            And external nodes:
              | node  | url               |
              | LAB_1 | env(THEIRS_1_URL) |
            And I have public cryptarchia endpoint peers:
              | public_cryptarchia_endpoint | username | password |
              | env(THEIRS_2_URL)           |          |          |
              | env(THEIRS_3_URL)           |          |          |
            When the nodes are ready
            Then I wait for all nodes to be synced to the chain in 30 seconds
        """
      Then the exit code is 0

    Scenario: A node of ours that is on another chain is not mixed with theirs
      When I run the harness on this feature:
        """
        Feature: Theirs
          Scenario: Another genesis
            Given the application is "logos-rehearsal"
            And external nodes:
              | node  | url               |
              | LAB_1 | env(THEIRS_1_URL) |
            And a cluster of 1 node
        """
      Then the exit code is 1
      And it prints "genesis is"
