from examples.studies.run import main

main()
